# python3 with threads: pools, multiprocessing, asyncio, locks. Guests with threads come after the first milestone.
# ruff: noqa
# mypy: ignore-errors
# slow
import asyncio
import concurrent.futures
import multiprocessing
import queue
import subprocess
import threading
import time

results = []
lock = threading.Lock()


def work(number):
    for _ in range(100):
        with lock:
            results.append(number)


threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(results), sorted(set(results)))
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    print(list(pool.map(lambda x: x * x, range(10))))
items = queue.Queue()
consumer = threading.Thread(target=lambda: print(sum(iter(items.get, None))))
consumer.start()
for i in range(1000):
    items.put(i)
items.put(None)
consumer.join()
event = threading.Event()
print(event.wait(0.1), threading.Timer(0.1, event.set).start(), event.wait(10))


async def main():
    process = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
    out, _ = await process.communicate(b"async\n")
    print(out, process.returncode)
    print(await asyncio.gather(*(asyncio.sleep(0.05 * (3 - i), i) for i in range(3))))
    server = await asyncio.start_unix_server(lambda r, w: (w.write(b"served"), w.close()), "sock")
    reader, writer = await asyncio.open_unix_connection("sock")
    print(await reader.read())
    writer.close()
    server.close()


asyncio.run(main())


def square(x):
    return x * x


if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(3) as pool:
        print(pool.map(square, range(20)))
    print(subprocess.run(["echo", "end"], capture_output=True).stdout)
