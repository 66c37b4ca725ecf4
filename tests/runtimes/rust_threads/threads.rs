// Threads, channels, locks, sockets, processes, panics.
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{mpsc, Arc, Barrier, Condvar, Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};

fn threads() {
    let atomic = Arc::new(AtomicUsize::new(0));
    let locked = Arc::new(Mutex::new(0usize));
    let barrier = Arc::new(Barrier::new(16));
    let all: Vec<_> = (0..16)
        .map(|i| {
            let (atomic, locked, barrier) = (atomic.clone(), locked.clone(), barrier.clone());
            thread::spawn(move || {
                barrier.wait();
                for _ in 0..2000 {
                    atomic.fetch_add(1, Ordering::Relaxed);
                    *locked.lock().unwrap() += 1;
                }
                i
            })
        })
        .collect();
    let sum: usize = all.into_iter().map(|thread| thread.join().unwrap()).sum();
    println!("{} {} {}", sum, atomic.load(Ordering::SeqCst), locked.lock().unwrap());

    let (sender, receiver) = mpsc::sync_channel(2);
    for id in 0..4 {
        let sender = sender.clone();
        thread::spawn(move || (0..100).for_each(|i| sender.send(id * 100 + i).unwrap()));
    }
    drop(sender);
    println!("received {}", receiver.iter().sum::<i32>());
    println!("{:?}", mpsc::channel::<i32>().1.recv_timeout(Duration::from_millis(1)).is_err());

    let pair = Arc::new((Mutex::new(false), Condvar::new()));
    let other = pair.clone();
    let waiter = thread::spawn(move || {
        let mut ready = other.0.lock().unwrap();
        while !*ready {
            ready = other.1.wait(ready).unwrap();
        }
        "woken"
    });
    thread::sleep(Duration::from_millis(10));
    *pair.0.lock().unwrap() = true;
    pair.1.notify_all();
    println!("{}", waiter.join().unwrap());
    let guard = pair.0.lock().unwrap();
    let (_guard, timeout) = pair.1.wait_timeout(guard, Duration::from_millis(10)).unwrap();
    println!("timed out {}", timeout.timed_out());

    let table = RwLock::new(HashMap::new());
    thread::scope(|scope| {
        for i in 0..8 {
            let table = &table;
            scope.spawn(move || table.write().unwrap().insert(i, i * i));
        }
    });
    println!("table {}", table.read().unwrap().values().sum::<i32>());
    let panicked = thread::Builder::new().name("unlucky".into()).spawn(|| panic!("on purpose")).unwrap().join();
    println!("panicked {}", panicked.unwrap_err().downcast_ref::<&str>().unwrap());
    let deep = thread::Builder::new().stack_size(64 << 20).spawn(|| {
        fn depth(n: u64) -> u64 {
            let block = [n; 100];
            if n == 0 { 0 } else { 1 + depth(unsafe { std::ptr::read_volatile(&block[50]) } - 1) }
        }
        depth(20000)
    });
    println!("deep {}", deep.unwrap().join().unwrap());
}

fn sockets() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut line = String::new();
                BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
                stream.write_all(line.to_uppercase().as_bytes()).unwrap();
            });
        }
    });
    let clients: Vec<_> = (0..20)
        .map(|i| {
            thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                writeln!(stream, "word{i}").unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).unwrap();
                answer.trim().to_string()
            })
        })
        .collect();
    println!("{}", clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>().join(" "));
    let (mut one, mut other) = UnixStream::pair()?;
    other.set_read_timeout(Some(Duration::from_millis(10)))?;
    println!("{:?}", other.read(&mut [0; 10]).unwrap_err().kind());
    one.write_all(b"pair")?;
    drop(one);
    let mut text = String::new();
    other.read_to_string(&mut text)?;
    println!("{text}");
    println!("{:?}", TcpStream::connect("127.0.0.1:1").unwrap_err().kind());
    Ok(())
}

fn processes() -> std::io::Result<()> {
    let mut child = Command::new("sh")
        .args(["-c", "cat; exit 3"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child.stdin.take().unwrap().write_all(b"through cat\n")?;
    let output = child.wait_with_output()?;
    println!("{:?} {:?}", String::from_utf8_lossy(&output.stdout), output.status.code());
    let mut sleeper = Command::new("sleep").arg("100").spawn()?;
    println!("{:?}", sleeper.try_wait()?);
    sleeper.kill()?;
    println!("{}", sleeper.wait()?);
    println!("{:?}", Command::new("/no/such/program").spawn().unwrap_err().kind());
    let children: Vec<_> = (0..8).map(|i| Command::new("sh").arg("-c").arg(format!("exit {i}")).spawn().unwrap()).collect();
    let codes: Vec<_> = children.into_iter().map(|mut child| child.wait().unwrap().code().unwrap()).collect();
    println!("{codes:?}");
    Ok(())
}

fn main() -> std::io::Result<()> {
    println!("{:?}", std::env::args().skip(1).collect::<Vec<_>>());
    std::panic::set_hook(Box::new(|_| ()));
    let start = Instant::now();
    threads();
    sockets()?;
    processes()?;
    println!("time goes on {}", start.elapsed() > Duration::from_millis(20));
    std::process::exit(4)
}
