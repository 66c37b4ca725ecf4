// Threads, a threaded server, the fork-join pool, garbage collection under load, child processes, files, signals.
import java.io.*;
import java.net.*;
import java.nio.*;
import java.nio.channels.*;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;
import java.util.stream.*;

public class JavaCore {
    static int fibonacci(int n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

    static class Sum extends RecursiveTask<Long> {
        final int from, to;
        Sum(int from, int to) { this.from = from; this.to = to; }
        @Override protected Long compute() {
            if (to - from < 1000) return IntStream.range(from, to).asLongStream().sum();
            int middle = (from + to) / 2;
            Sum left = new Sum(from, middle), right = new Sum(middle, to);
            left.fork();
            return right.compute() + left.join();
        }
    }

    static void threads() throws Exception {
        AtomicLong atomic = new AtomicLong();
        long[] locked = {0};
        Object lock = new Object();
        Thread[] threads = new Thread[16];
        for (int i = 0; i < threads.length; i++) {
            threads[i] = new Thread(() -> {
                for (int j = 0; j < 2000; j++) {
                    atomic.incrementAndGet();
                    synchronized (lock) { locked[0]++; }
                }
            });
            threads[i].start();
        }
        for (Thread thread : threads) thread.join();
        System.out.println("threads " + atomic + " " + locked[0]);
        Thread sleeper = new Thread(() -> {
            try {
                Thread.sleep(100000);
            } catch (InterruptedException e) {
                System.out.println("interrupted");
            }
        });
        sleeper.start();
        sleeper.interrupt();
        sleeper.join();
        CyclicBarrier barrier = new CyclicBarrier(4);
        ExecutorService pool = Executors.newFixedThreadPool(4);
        List<Future<Integer>> results = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            int n = i;
            results.add(pool.submit(() -> { barrier.await(); return fibonacci(15 + n); }));
        }
        for (Future<Integer> result : results) System.out.print(result.get() + " ");
        System.out.println();
        pool.shutdown();
        System.out.println("ended " + pool.awaitTermination(10, TimeUnit.SECONDS));
        ScheduledExecutorService timer = Executors.newScheduledThreadPool(2);
        CountDownLatch ticks = new CountDownLatch(5);
        timer.scheduleAtFixedRate(ticks::countDown, 1, 5, TimeUnit.MILLISECONDS);
        System.out.println("ticks " + ticks.await(10, TimeUnit.SECONDS));
        timer.shutdownNow();
        System.out.println("fork-join " + new ForkJoinPool(4).invoke(new Sum(0, 1_000_000)));
        System.out.println("parallel " + IntStream.range(0, 1_000_000).parallel().filter(i -> i % 7 == 0).count());
    }

    static void server() throws Exception {
        try (ServerSocket listener = new ServerSocket(0, 100, InetAddress.getLoopbackAddress())) {
            Thread acceptor = new Thread(() -> {
                try {
                    while (true) {
                        Socket socket = listener.accept();
                        new Thread(() -> {
                            try (socket) {
                                BufferedReader in = new BufferedReader(new InputStreamReader(socket.getInputStream()));
                                PrintWriter out = new PrintWriter(socket.getOutputStream(), true);
                                for (String line; (line = in.readLine()) != null;) out.println("echo " + line);
                            } catch (IOException e) {
                                System.out.println(e);
                            }
                        }).start();
                    }
                } catch (IOException e) {
                    System.out.println("closed");
                }
            });
            acceptor.start();
            AtomicInteger good = new AtomicInteger();
            ExecutorService clients = Executors.newFixedThreadPool(20);
            for (int i = 0; i < 20; i++) {
                int n = i;
                clients.execute(() -> {
                    try (Socket socket = new Socket(InetAddress.getLoopbackAddress(), listener.getLocalPort())) {
                        BufferedReader in = new BufferedReader(new InputStreamReader(socket.getInputStream()));
                        PrintWriter out = new PrintWriter(socket.getOutputStream(), true);
                        for (int j = 0; j < 20; j++) {
                            out.println(n + ":" + j);
                            if (in.readLine().equals("echo " + n + ":" + j)) good.incrementAndGet();
                        }
                    } catch (IOException e) {
                        System.out.println(e);
                    }
                });
            }
            clients.shutdown();
            clients.awaitTermination(60, TimeUnit.SECONDS);
            System.out.println("answers " + good);
            listener.close();
            acceptor.join();
        }
        Selector selector = Selector.open();
        Pipe pipe = Pipe.open();
        pipe.source().configureBlocking(false);
        pipe.source().register(selector, SelectionKey.OP_READ);
        System.out.println("selected " + selector.select(10));
        pipe.sink().write(ByteBuffer.wrap("nio".getBytes()));
        System.out.println("selected " + selector.select(1000));
        ByteBuffer buffer = ByteBuffer.allocate(10);
        System.out.println("read " + pipe.source().read(buffer));
        try {
            new Socket(InetAddress.getLoopbackAddress(), 1);
        } catch (ConnectException e) {
            System.out.println(e.getMessage());
        }
    }

    static void memory() {
        List<byte[]> kept = new ArrayList<>();
        long allocated = 0;
        for (int i = 0; i < 3000; i++) {
            byte[] block = new byte[100_000];
            allocated += block.length;
            if (i % 100 == 0) kept.add(block);
        }
        System.out.println("allocated " + allocated + " kept " + kept.size());
        IntStream.range(0, 4).parallel().forEach(n -> {
            Map<Integer, String> map = new HashMap<>();
            for (int i = 0; i < 50_000; i++) map.put(i % 1000, "value " + i);
        });
        System.gc();
        try {
            List<long[]> hoard = new ArrayList<>();
            while (true) hoard.add(new long[4_000_000]);
        } catch (OutOfMemoryError e) {
            System.out.println(e.getMessage());
        }
        try {
            deep(0);
        } catch (StackOverflowError e) {
            System.out.println("stack overflow caught");
        }
        String nothing = System.getenv("NO_SUCH_VARIABLE");
        try {
            System.out.println(nothing.length());
        } catch (NullPointerException e) {
            System.out.println("null pointer caught");
        }
    }

    static int deep(int n) { return deep(n + 1) + 1; }

    static void children() throws Exception {
        Process process = new ProcessBuilder("sh", "-c", "read line; echo \"got $line\"; exit 4").start();
        try (OutputStream in = process.getOutputStream()) {
            in.write("a line\n".getBytes());
        }
        System.out.print(new String(process.getInputStream().readAllBytes()));
        System.out.println("exit " + process.waitFor());
        Process sleeper = new ProcessBuilder("sleep", "100").start();
        sleeper.destroy();
        System.out.println("killed " + sleeper.waitFor());
        try {
            new ProcessBuilder("/no/such/program").start();
        } catch (IOException e) {
            System.out.println(e.getMessage());
        }
        List<Process> many = new ArrayList<>();
        for (int i = 0; i < 8; i++) many.add(new ProcessBuilder("sh", "-c", "exit " + i).start());
        for (Process each : many) System.out.print(each.waitFor() + " ");
        System.out.println();
    }

    static void files() throws Exception {
        Path file = Path.of("java-file");
        Files.writeString(file, "one\ntwo\n");
        System.out.println(Files.readAllLines(file) + " " + Files.size(file));
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            MappedByteBuffer map = channel.map(FileChannel.MapMode.READ_WRITE, 0, 8192);
            map.put(4096, (byte) 'x');
            map.force();
            try (FileLock lock = channel.lock()) {
                System.out.println("locked " + lock.isValid() + " " + channel.size());
            }
        }
        Files.delete(file);
        try {
            Files.readString(Path.of("missing"));
        } catch (NoSuchFileException e) {
            System.out.println("no file " + e.getMessage());
        }
    }

    public static void main(String[] arguments) throws Exception {
        System.out.println(System.getProperty("os.name") + " " + System.getProperty("os.arch"));
        threads();
        server();
        children();
        files();
        memory();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("hook")));
        System.exit(6);
    }
}
