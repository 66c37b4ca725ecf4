<?php
// timeout: 120
// Processes, pipes, stream sockets, select, generators, fibers, files, exceptions.
$process = proc_open(['sh', '-c', 'cat; echo problem >&2; exit 3'], [['pipe', 'r'], ['pipe', 'w'], ['pipe', 'w']], $pipes);
fwrite($pipes[0], "through cat\n");
fclose($pipes[0]);
echo stream_get_contents($pipes[1]), stream_get_contents($pipes[2]);
echo 'exit ', proc_close($process), "\n";
exec('exit 5', $output, $status);
echo "exec $status ", trim(shell_exec('echo shell')), "\n";

$server = stream_socket_server('tcp://127.0.0.1:0');
$name = stream_socket_get_name($server, false);
$clients = [];
for ($i = 0; $i < 10; $i++) $clients[] = stream_socket_client("tcp://$name");
$accepted = [];
while (count($accepted) < 10) {
    $read = [$server];
    $write = $except = null;
    if (stream_select($read, $write, $except, 5)) $accepted[] = stream_socket_accept($server);
}
foreach ($clients as $i => $client) fwrite($client, "word$i\n");
$answers = 0;
while ($answers < 10) {
    $read = $accepted;
    stream_select($read, $write, $except, 5);
    foreach ($read as $one) { fwrite($one, strtoupper(fgets($one))); $answers++; }
}
foreach ($clients as $client) echo trim(fgets($client)), ' ';
echo "\n";
[$one, $other] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
fwrite($one, 'pair');
echo fread($other, 10), "\n";
echo @stream_socket_client('tcp://127.0.0.1:1', $number, $text, 1) === false ? "$text\n" : "connected\n";

if (function_exists('pcntl_fork')) {
    pcntl_async_signals(true);
    pcntl_signal(SIGUSR1, fn() => print("signal\n"));
    posix_kill(posix_getpid(), SIGUSR1);
    $pid = pcntl_fork();
    if (!$pid) exit(9);
    pcntl_waitpid($pid, $status);
    echo 'child ', pcntl_wexitstatus($status), "\n";
}

function numbers() { for ($i = 1; $i <= 5; $i++) yield $i => $i ** 2; }
foreach (numbers() as $key => $value) echo "$key:$value ";
$fiber = new Fiber(function () { $got = Fiber::suspend('first'); echo "got $got\n"; });
echo $fiber->start(), ' ';
$fiber->resume('second');

file_put_contents('php-file', str_repeat("line\n", 1000));
$handle = fopen('php-file', 'r+');
echo flock($handle, LOCK_EX) ? 'locked ' : 'not locked ', filesize('php-file'), ' ', md5_file('php-file'), "\n";
fclose($handle);
mkdir('php-folder');
foreach (['a', 'b', 'c'] as $each) touch("php-folder/$each");
echo implode(' ', array_map('basename', glob('php-folder/*'))), "\n";
array_map('unlink', glob('php-folder/*'));
rmdir('php-folder');
unlink('php-file');
$temporary = tempnam(sys_get_temp_dir(), 'php');
echo is_writable($temporary) ? "temporary\n" : "none\n";
unlink($temporary);
try { intdiv(1, 0); } catch (DivisionByZeroError $error) { echo $error->getMessage(), "\n"; }
$start = hrtime(true);
usleep(20000);
echo hrtime(true) - $start >= 20000000 ? "slept\n" : "woke early\n";
echo strlen(random_bytes(16)), ' ', json_encode(['a' => [1, 2.5, null, true]]), ' ', PHP_OS, "\n";
for ($i = 0, $kept = []; $i < 200000; $i++) { $kept[$i % 100] = new stdClass; $kept[$i % 100]->self = $kept[$i % 100]; }
echo 'collected ', gc_status()['runs'] > 0 ? 'yes' : 'no', "\n";
register_shutdown_function(fn() => print("shutdown\n"));
exit(6);
