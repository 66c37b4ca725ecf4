import java.nio.file.*;
import java.util.*;
import java.util.concurrent.TimeUnit;

import static java.nio.file.StandardWatchEventKinds.*;

public class Watch {
    static void show(WatchService watcher, String... expected) throws Exception {
        Set<String> seen = new TreeSet<>();
        while (!seen.containsAll(Arrays.asList(expected))) {
            WatchKey key = watcher.poll(10, TimeUnit.SECONDS);
            if (key == null) break;
            for (WatchEvent<?> event : key.pollEvents()) seen.add(event.kind() + " " + event.context());
            key.reset();
        }
        System.out.println(seen);
    }

    public static void main(String[] arguments) throws Exception {
        Path folder = Files.createDirectory(Path.of("folder"));
        try (WatchService watcher = FileSystems.getDefault().newWatchService()) {
            folder.register(watcher, ENTRY_CREATE, ENTRY_DELETE);
            Files.createFile(folder.resolve("one"));
            show(watcher, "ENTRY_CREATE one");
            Files.move(folder.resolve("one"), folder.resolve("two"));
            show(watcher, "ENTRY_DELETE one", "ENTRY_CREATE two");
            Files.delete(folder.resolve("two"));
            show(watcher, "ENTRY_DELETE two");
            System.out.println(watcher.poll(20, TimeUnit.MILLISECONDS));
        }
        Files.delete(folder);
    }
}
