// Goroutines on several processors, channels, timers, pre-emption, an HTTP server, child processes, signals, files.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func check(what string, err error) {
	if err != nil {
		fmt.Println(what, "failed:", err)
		os.Exit(1)
	}
}

func goroutines() {
	for _, processors := range []int{1, 2, 8} {
		runtime.GOMAXPROCS(processors)
		var group sync.WaitGroup
		var mutex sync.Mutex
		var atomically int64
		locked := 0
		for i := 0; i < 100; i++ {
			group.Add(1)
			go func() {
				defer group.Done()
				for j := 0; j < 100; j++ {
					atomic.AddInt64(&atomically, 1)
					mutex.Lock()
					locked++
					mutex.Unlock()
				}
			}()
		}
		group.Wait()
		fmt.Println("GOMAXPROCS", processors, atomically, locked)
	}
	numbers, squares := make(chan int), make(chan int, 10)
	for i := 0; i < 4; i++ {
		go func() {
			for n := range numbers {
				squares <- n * n
			}
		}()
	}
	go func() {
		for i := 1; i <= 1000; i++ {
			numbers <- i
		}
		close(numbers)
	}()
	sum := 0
	for i := 0; i < 1000; i++ {
		sum += <-squares
	}
	fmt.Println("squares", sum)
	runtime.GOMAXPROCS(1)
	var stop int32
	go func() {
		for atomic.LoadInt32(&stop) == 0 {
		}
	}()
	time.Sleep(20 * time.Millisecond) // comes back only by pre-emption
	atomic.StoreInt32(&stop, 1)
	runtime.GOMAXPROCS(4)
	fmt.Println("pre-empted")
}

func timers() {
	start := time.Now()
	ticker := time.NewTicker(5 * time.Millisecond)
	for i := 0; i < 5; i++ {
		<-ticker.C
	}
	ticker.Stop()
	fmt.Println("ticks", time.Since(start) >= 25*time.Millisecond)
	select {
	case <-make(chan int):
	case <-time.After(10 * time.Millisecond):
		fmt.Println("timeout")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	<-ctx.Done()
	fmt.Println(ctx.Err())
	var fired int32
	for i := 0; i < 50; i++ {
		time.AfterFunc(time.Duration(i)*time.Millisecond/10, func() { atomic.AddInt32(&fired, 1) })
	}
	for atomic.LoadInt32(&fired) < 50 {
		time.Sleep(time.Millisecond)
	}
	fmt.Println("fired", fired)
}

func servers() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check("listen", err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			io.Copy(w, r.Body)
			return
		}
		fmt.Fprintf(w, "hello %s", r.URL.Path)
	})}
	go server.Serve(listener)
	url := "http://" + listener.Addr().String()
	var group sync.WaitGroup
	var good int32
	for i := 0; i < 50; i++ {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			response, err := http.Get(fmt.Sprintf("%s/%d", url, i))
			check("get", err)
			text, _ := io.ReadAll(response.Body)
			response.Body.Close()
			if string(text) == fmt.Sprintf("hello /%d", i) {
				atomic.AddInt32(&good, 1)
			}
		}(i)
	}
	group.Wait()
	fmt.Println("answered", good)
	body := bytes.Repeat([]byte("mitou "), 200000)
	response, err := http.Post(url, "text/plain", bytes.NewReader(body))
	check("post", err)
	echo, _ := io.ReadAll(response.Body)
	fmt.Println("echoed", bytes.Equal(echo, body))
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	http.DefaultClient.CloseIdleConnections()
	check("shutdown", server.Shutdown(ctx))
	local, err := net.Listen("unix", "@noah-go-test")
	check("unix", err)
	go func() {
		connection, _ := local.Accept()
		io.Copy(connection, connection)
		connection.Close()
	}()
	connection, err := net.Dial("unix", "@noah-go-test")
	check("dial", err)
	connection.Write([]byte("abstract"))
	connection.(*net.UnixConn).CloseWrite()
	text, _ := io.ReadAll(connection)
	fmt.Println(string(text))
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	check("udp", err)
	packets.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	_, _, err = packets.ReadFrom(make([]byte, 10))
	fmt.Println("deadline", errors.Is(err, os.ErrDeadlineExceeded))
	_, err = net.Dial("tcp", "127.0.0.1:1")
	fmt.Println("refused", errors.Is(err, syscall.ECONNREFUSED))
}

func children() {
	out, err := exec.Command("sh", "-c", "echo out; exit 3").Output()
	fmt.Printf("%q %v\n", out, err)
	cat := exec.Command("cat")
	cat.Stdin = strings.NewReader("through cat")
	out, err = cat.Output()
	fmt.Printf("%q %v\n", out, err)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	fmt.Println(exec.CommandContext(ctx, "sleep", "100").Run())
	_, err = exec.LookPath("no-such-program")
	fmt.Println(err)
	fmt.Println(exec.Command("/no/such/program").Run())
	var group sync.WaitGroup
	codes := make([]int, 16)
	for i := range codes {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			command := exec.Command("sh", "-c", fmt.Sprintf("exit %d", i))
			command.Run()
			codes[i] = command.ProcessState.ExitCode()
		}(i)
	}
	group.Wait()
	fmt.Println(codes)
}

func signals() {
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGUSR1, syscall.SIGTERM)
	syscall.Kill(os.Getpid(), syscall.SIGUSR1)
	fmt.Println(<-caught)
	syscall.Kill(os.Getpid(), syscall.SIGTERM)
	fmt.Println(<-caught)
	defer func() { fmt.Println("recovered:", recover()) }()
	var nothing *struct{ x int }
	fmt.Println(nothing.x)
}

func files() {
	check("write", os.WriteFile("file", []byte("content"), 0o640))
	info, err := os.Stat("file")
	check("stat", err)
	fmt.Println(info.Mode(), info.Size())
	var group sync.WaitGroup
	for i := 0; i < 40; i++ {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			name := fmt.Sprintf("dir/%02d", i)
			check("mkdir", os.MkdirAll(name, 0o755))
			check("file", os.WriteFile(name+"/f", bytes.Repeat([]byte{byte(i)}, 10000), 0o644))
		}(i)
	}
	group.Wait()
	entries, err := os.ReadDir("dir")
	check("readdir", err)
	names := []string{}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	sort.Strings(names)
	fmt.Println(len(names), names[0], names[39])
	check("remove", os.RemoveAll("dir"))
	_, err = os.Open("missing")
	fmt.Println(err, errors.Is(err, os.ErrNotExist))
	r, w, _ := os.Pipe()
	go func() { w.Write([]byte("pipe")); w.Close() }()
	text, _ := io.ReadAll(r)
	fmt.Println(string(text))
}

func memory() {
	kept := map[int][]byte{}
	for i := 0; i < 2000; i++ {
		kept[i%100] = make([]byte, 1<<16)
	}
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	fmt.Println("collected", stats.NumGC > 0, len(kept))
}

func main() {
	goroutines()
	timers()
	servers()
	children()
	signals()
	files()
	memory()
	os.Exit(5)
}
