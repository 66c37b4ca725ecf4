# ruby: fork, pipes, processes, files, its standard library.
require 'json'
require 'digest'
require 'tempfile'
require 'fileutils'
require 'open3'
require 'set'
require 'zlib'
require 'socket'
require 'timeout'
require 'stringio'
require 'time'
require 'yaml'
require 'pathname'
require 'erb'
$stdout.sync = true
puts RUBY_ENGINE, [3, 1, 2].sort.inspect, (1..10).map { |x| x ** 2 }.sum, 2 ** 100
r, w = IO.pipe
pid = fork { r.close; w.puts "child"; exit 3 }
w.close; puts r.read; Process.wait pid; puts $?.exitstatus
puts `echo shell`, $?.success?; puts system("exit 4").inspect, $?.exitstatus; puts system("nowhere-xyz").inspect
out, err, status = Open3.capture3("cat; echo err >&2; exit 2", stdin_data: "fed\n"); p out, err, status.exitstatus
IO.popen(%w[tr a-z A-Z], "r+") { |io| io.write "popen"; io.close_write; puts io.read }
pid = fork { sleep 30 }; Process.kill :TERM, pid; Process.wait pid; p $?.termsig
got = nil; trap(:USR1) { got = "usr1" }; Process.kill :USR1, Process.pid; sleep 0.05 until got; puts got
begin Timeout.timeout(0.2) { sleep 10 } rescue puts "timeout" end
FileUtils.mkdir_p "t/a/b"
File.write "t/a/f", "text"
FileUtils.cp_r "t/a", "t/c"
File.symlink "f", "t/a/l"
puts Dir.glob("t/**/*").sort
p File.stat("t/a/f").size, File.readlink("t/a/l"), File.exist?("none")
File.open("t/a/f", "r+") { |f| f.seek 2; f.write "XX"; f.flock File::LOCK_EX; f.truncate 3 }
puts File.read("t/a/f")
FileUtils.rm_rf "t/c"
File.chmod 0600, "t/a/f"
printf "%o\n", File.stat("t/a/f").mode
Tempfile.create("x") { |f| f.write "temporary"; f.flush
p File.size(f.path) }
begin File.read "none" rescue p $!.class end
p JSON.parse('{"a": [1, 2.5, null]}'), JSON.generate({ b: 1 }), { "y" => [1] }.to_yaml, Digest::SHA256.hexdigest("mitou")[0, 16], Zlib.inflate(Zlib.deflate("z" * 1000)).size, ERB.new("<%= 1 + 1 %>").result
a, b = UNIXSocket.pair
a.write "socket"
a.close
p b.read
p IO.select([b], nil, nil, 0)&.first&.size
p Time.at(0).utc.iso8601, Process.clock_gettime(Process::CLOCK_MONOTONIC) > 0
t = Thread.new { Thread.current[:x] = 1; 42 }
p t.value
q = Queue.new
Thread.new { 3.times { |i| q << i } }.join
p q.size
p Set.new([1, 1, 2]).size
f = Fiber.new { Fiber.yield 1; 2 }
p f.resume, f.resume
at_exit { puts "bye"; exit 6 }
