# timeout: 120
# Interpreter threads with shared data, queues, semaphores, signals, sockets.
use strict;
use warnings;
use threads;
use threads::shared;
use Thread::Queue;
use Thread::Semaphore;
use IO::Socket::INET;
use IO::Select;
use Time::HiRes qw(sleep alarm time);
use POSIX qw(:sys_wait_h);

$| = 1;
my $count : shared = 0;
my @threads = map { threads->create(sub { for (1 .. 200) { lock $count; $count++ } return $_[0] * 2 }, $_) } 1 .. 8;
print join(' ', map { $_->join } @threads), " count $count\n";

my ($work, $done) = (Thread::Queue->new, Thread::Queue->new);
my @workers = map { threads->create(sub { while (defined(my $item = $work->dequeue)) { $done->enqueue($item ** 2) } }) } 1 .. 3;
$work->enqueue(1 .. 50);
$work->end;
$_->join for @workers;
my $sum = 0;
while (defined(my $item = $done->dequeue_nb)) { $sum += $item }
print "sum $sum\n";

my %table : shared;
threads->create(sub { lock %table; $table{answer} = 42; cond_signal(%table) });
{ lock %table; cond_wait(%table) until $table{answer} }
print "answer $table{answer}\n";
$_->join for threads->list;

my $semaphore = Thread::Semaphore->new(2);
my ($inside, $most) : shared = (0, 0);
share($most);
$most = 0;
$inside = 0;
@threads = map { threads->create(sub {
    $semaphore->down;
    { lock $most; $inside++; $most = $inside if $inside > $most }
    sleep 0.01;
    { lock $most; $inside-- }
    $semaphore->up;
}) } 1 .. 6;
$_->join for @threads;
print 'at most two: ', ($most <= 2 ? 'yes' : 'no'), "\n";

my $failed = threads->create(sub { local $SIG{__WARN__} = sub {}; die "inside\n" });
$failed->join;
print 'error: ', $failed->error;
my $listens = Thread::Queue->new;
my $endless = threads->create(sub { $SIG{KILL} = sub { threads->exit }; $listens->enqueue(1); sleep 0.01 while 1 });
$listens->dequeue;
$endless->kill('KILL')->join;
print "killed\n";

my $server = IO::Socket::INET->new(Listen => 20, LocalAddr => '127.0.0.1', Proto => 'tcp') or die;
my $port = $server->sockport;
my $acceptor = threads->create(sub {
    for (1 .. 10) { my $client = $server->accept; my $line = <$client>; print $client uc $line; close $client }
});
my @clients = map { threads->create(sub {
    my $socket = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port") or die;
    print $socket "word$_[0]\n";
    my $answer = <$socket>;
    chomp $answer;
    return $answer;
}, $_) } 1 .. 10;
print join(' ', map { $_->join } @clients), "\n";
$acceptor->join;

my $pid = fork // die;
if (!$pid) { threads->create(sub { POSIX::_exit(9) })->join }
waitpid $pid, 0;
print 'child ', $? >> 8, "\n";
my $rang = 0;
$SIG{ALRM} = sub { $rang = 1 };
alarm 0.02;
select undef, undef, undef, 1 until $rang;
print "rang\n";
exit 3;
