# varies: .*Ractor is experimental.*\n
# timeout: 120
# Threads, queues, fibers, processes, sockets, signals, a watched pipe.
require 'socket'
require 'open3'
require 'timeout'
require 'monitor'
require 'io/wait'

mutex = Mutex.new
count = 0
threads = 10.times.map { Thread.new { 500.times { mutex.synchronize { count += 1 } } } }
threads.each(&:join)
puts "counted #{count}"

queue = SizedQueue.new(3)
producer = Thread.new { 20.times { |i| queue << i }; queue << nil }
sum = 0
while (item = queue.pop) do sum += item end
producer.join
puts "queue #{sum}"

condition = ConditionVariable.new
ready = false
waiter = Thread.new { mutex.synchronize { condition.wait(mutex) until ready; :woken } }
sleep 0.01
mutex.synchronize { ready = true; condition.broadcast }
puts waiter.value

begin
  Timeout.timeout(0.05) { sleep }
rescue Timeout::Error => error
  puts error.class
end
spinner = Thread.new { loop {} }
sleep 0.02
spinner.kill
puts "killed #{spinner.join.status.inspect}"
failing = Thread.new { Thread.current.report_on_exception = false; raise 'in a thread' }
begin
  failing.join
rescue => error
  puts error.message
end

fiber = Fiber.new { 3.times { |i| Fiber.yield i }; :done }
puts 4.times.map { fiber.resume }.inspect

ractor = Ractor.new { Ractor.receive * 2 } rescue nil
puts ractor.send(21).take if ractor

server = TCPServer.new('127.0.0.1', 0)
Thread.new { loop { Thread.new(server.accept) { |client| client.puts client.gets.upcase; client.close } } }
answers = 20.times.map do |i|
  Thread.new { TCPSocket.open('127.0.0.1', server.addr[1]) { |socket| socket.puts "word#{i}"; socket.gets.chomp } }
end
puts answers.map(&:value).join(' ')
UNIXSocket.pair.tap { |a, b| a.send_io($stdout); b.recv_io.syswrite("through a passed descriptor\n") }

out, status = Open3.capture2e('sh', '-c', 'cat; echo problem >&2; exit 3', stdin_data: "input\n")
puts out, status.exitstatus
pid = fork { Thread.new { exit!(7) }.join }
puts Process.wait2(pid)[1].exitstatus
pid = spawn('sleep 100')
Process.kill(:TERM, pid)
puts Process.wait2(pid)[1].termsig
reader, writer = IO.pipe
Thread.new { sleep 0.01; writer << 'late' ; writer.close }
puts reader.wait_readable(5).equal?(reader), reader.read

caught = Queue.new
trap('USR1') { caught << 'USR1' }
Process.kill(:USR1, Process.pid)
puts caught.pop
100.times { 'x' * 100_000 }
GC.start
puts GC.count.positive?
at_exit { puts 'at exit' }
exit 4
