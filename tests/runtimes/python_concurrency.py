# timeout: 300
"""Threads, asyncio, process pools and multiprocessing with every start method, TLS client and server."""

import asyncio
import concurrent.futures
import multiprocessing
import os
import queue
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from multiprocessing import shared_memory


def square(number):
    return number * number


def add(counter, times):
    for _ in range(times):
        with counter.get_lock():
            counter.value += 1


def answer(connection):
    connection.send([each.upper() for each in connection.recv()])


def fill(name):
    memory = shared_memory.SharedMemory(name)
    memory.buf[:5] = b"mitou"
    memory.close()


def reply(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(path)
        for _ in range(2):
            data, sender = server.recvfrom(100)
            server.sendto(data.upper(), sender)


def datagrams():
    folder = os.path.abspath("datagrams")
    os.mkdir(folder)
    server = multiprocessing.get_context("fork").Process(target=reply, args=(folder + "/server",))
    server.start()
    while not os.path.exists(folder + "/server"):
        time.sleep(0.01)
    for name in (folder + "/client", "\0noah/client"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.bind(name)
            client.sendto(b"by name", folder + "/server")
            data, sender = client.recvfrom(100)
            print(data, sender == folder + "/server")
    server.join()
    for name in ("client", "server"):
        os.unlink(f"{folder}/{name}")
    os.rmdir(folder)


def threads():
    total, lock = [0], threading.Lock()

    def work():
        for _ in range(200):
            with lock:
                total[0] += 1

    all_of_them = [threading.Thread(target=work) for _ in range(20)]
    for thread in all_of_them:
        thread.start()
    for thread in all_of_them:
        thread.join()
    print("threads", total)
    items = queue.Queue(2)
    threading.Thread(target=lambda: [items.put(number) for number in range(20)]).start()
    print("queue", sum(items.get() for _ in range(20)))
    event = threading.Event()
    timer = threading.Timer(0.02, event.set)
    timer.start()
    print("event", event.wait(5), threading.Event().wait(0.01))
    barrier = threading.Barrier(5)
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        print("barrier", sorted(pool.map(lambda _: barrier.wait(), range(5))))


def processes():
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        with context.Pool(3) as pool:
            print(method, pool.map(square, range(10)))
        counter = context.Value("i", 0)
        workers = [context.Process(target=add, args=(counter, 50)) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        print("counted", counter.value, [worker.exitcode for worker in workers])
        ours, theirs = context.Pipe()
        worker = context.Process(target=answer, args=(theirs,))
        worker.start()
        ours.send(["one", "two"])
        print(ours.recv())
        worker.join()
        sleeper = context.Process(target=time.sleep, args=(100,))
        sleeper.start()
        sleeper.terminate()
        sleeper.join()
        print("ended by", signal.Signals(-sleeper.exitcode).name)
        memory = shared_memory.SharedMemory(create=True, size=100)
        worker = context.Process(target=fill, args=(memory.name,))
        worker.start()
        worker.join()
        print(bytes(memory.buf[:5]))
        memory.close()
        memory.unlink()
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
            print("futures", list(pool.map(square, range(5))))
    with multiprocessing.Manager() as manager:
        shared = manager.dict()
        shared["key"] = "value"
        print(dict(shared))


async def serve():
    async def handle(reader, writer):
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def client(number):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"word%d\n" % number)
        text = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return text == b"WORD%d\n" % number

    print("clients", sum(await asyncio.gather(*map(client, range(100)))))
    server.close()
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", "cat; exit 3", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    print(await process.communicate(b"through cat"), process.returncode)
    try:
        await asyncio.wait_for(asyncio.sleep(10), 0.02)
    except asyncio.TimeoutError:
        print("timeout")
    print("in a thread", await asyncio.to_thread(square, 7))
    loop, future = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()
    loop.add_signal_handler(signal.SIGUSR1, future.set_result, "SIGUSR1")
    os.kill(os.getpid(), signal.SIGUSR1)
    print(await future)


def tls():
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key", "-out", "certificate", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("certificate", "key")
    listener = socket.create_server(("127.0.0.1", 0))

    def serve_tls():
        for _ in range(5):
            connection, _ = listener.accept()
            with context.wrap_socket(connection, server_side=True) as secured:
                while data := secured.recv(65536):
                    secured.sendall(data[::-1])

    server = threading.Thread(target=serve_tls)
    server.start()
    trusted = ssl.create_default_context(cafile="certificate")
    for number in range(5):
        with socket.create_connection(listener.getsockname()) as plain:
            with trusted.wrap_socket(plain, server_hostname="localhost") as secured:
                secured.sendall(b"word%d" % number)
                print(secured.version(), secured.recv(100))
    server.join()
    listener.close()
    os.unlink("key")
    os.unlink("certificate")


if __name__ == "__main__":
    threads()
    processes()
    datagrams()
    asyncio.run(serve())
    tls()
    sys.stdout.flush()
    sys.exit(4)
