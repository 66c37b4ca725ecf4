// timeout: 120
// Worker threads with shared memory, child processes, an HTTP server with its clients, timers, streams.
'use strict';
const { Worker, isMainThread, workerData, parentPort } = require('worker_threads');
const { spawn, exec, execFileSync, fork } = require('child_process');
const fs = require('fs');
const http = require('http');
const net = require('net');
const os = require('os');
const path = require('path');
const zlib = require('zlib');
const crypto = require('crypto');
const { once } = require('events');
const { pipeline } = require('stream/promises');
const sleep = require('timers/promises').setTimeout;

if (!isMainThread) {
  const counter = new Int32Array(workerData.memory);
  for (let i = 0; i < 10000; i++) Atomics.add(counter, 0, 1);
  Atomics.add(counter, 1, 1);
  Atomics.notify(counter, 1);
  parentPort.once('message', (words) => {
    parentPort.postMessage(words.map((word) => word.toUpperCase()));
  });
} else if (process.argv[2] === 'child') {
  process.on('message', (message) => {
    process.send({ answer: message.question * 2 });
    process.disconnect();
  });
} else {
  main().catch((error) => { console.log('failed:', error); process.exit(1); });
}

async function workers() {
  const memory = new SharedArrayBuffer(8);
  const counter = new Int32Array(memory);
  const all = [0, 1, 2, 3].map(() => new Worker(__filename, { workerData: { memory } }));
  const answers = all.map((worker) => once(worker, 'message'));
  for (const [index, worker] of all.entries()) worker.postMessage(['worker', String(index)]);
  for (const answer of answers) console.log((await answer)[0].join(' '));
  await Promise.all(all.map((worker) => worker.terminate()));
  console.log('counted', Atomics.load(counter, 0), Atomics.load(counter, 1));
  console.log('waited', Atomics.wait(counter, 0, Atomics.load(counter, 0), 20));
  const endless = new Worker('for (;;) {}', { eval: true });
  await once(endless, 'online');
  console.log('terminated', await endless.terminate());
}

async function children() {
  console.log(execFileSync('cat', { input: 'through cat' }).toString());
  const child = spawn('sh', ['-c', 'read line; echo "got $line"; echo problem >&2; exit 7']);
  let out = '', err = '';
  child.stdout.on('data', (data) => { out += data; });
  child.stderr.on('data', (data) => { err += data; });
  child.stdin.end('a line\n');
  console.log(await once(child, 'close'), JSON.stringify(out), JSON.stringify(err));
  const killed = spawn('sleep', ['100']);
  await once(killed, 'spawn');
  killed.kill('SIGTERM');
  console.log(await once(killed, 'exit'));
  await new Promise((done) => exec('no-such-program', (error) => { console.log('exec:', error.code); done(); }));
  const missing = spawn('/no/such/program');
  console.log('spawn:', (await once(missing, 'error'))[0].code);
  const forked = fork(__filename, ['child']);
  forked.send({ question: 21 });
  console.log((await once(forked, 'message'))[0]);
  console.log('forked:', await once(forked, 'exit'));
  const many = await Promise.all(Array.from({ length: 8 }, (_, i) =>
    once(spawn('sh', ['-c', `exit ${i}`]), 'exit')));
  console.log(many.map(([code]) => code).join(' '));
}

function get(port, url, body) {
  return new Promise((done, failed) => {
    const request = http.request({ host: '127.0.0.1', port, path: url, method: body ? 'POST' : 'GET', agent: false }, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('end', () => done([response.statusCode, Buffer.concat(parts)]));
    });
    request.on('error', failed);
    request.end(body);
  });
}

async function servers() {
  const server = http.createServer((request, response) => {
    if (request.url === '/file') return fs.createReadStream('big').pipe(response);
    if (request.method === 'POST') return request.pipe(response);
    response.writeHead(request.url === '/' ? 200 : 404);
    response.end('hello ' + request.url);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  console.log(...(await get(port, '/')).map(String));
  console.log(...(await get(port, '/missing')).map(String));
  const body = Buffer.alloc(1 << 20, 'mitou ');
  console.log('echoed', (await get(port, '/echo', body))[1].equals(body));
  fs.writeFileSync('big', crypto.createHash('sha512').update('seed').digest().toString('hex').repeat(20000));
  const digest = (data) => crypto.createHash('sha256').update(data).digest('hex').slice(0, 16);
  console.log('file', digest((await get(port, '/file'))[1]) === digest(fs.readFileSync('big')));
  const all = await Promise.all(Array.from({ length: 100 }, (_, i) => get(port, `/${i}`)));
  console.log('answered', all.filter(([code, text], i) => code === 404 && String(text) === `hello /${i}`).length);
  server.close();
  const local = net.createServer((socket) => socket.end('by a path'));
  local.listen('socket');
  await once(local, 'listening');
  const client = net.connect('socket');
  console.log(String((await once(client, 'data'))[0]));
  local.close();
  const refused = net.connect(1, '127.0.0.1');
  console.log((await once(refused, 'error'))[0].code);
}

async function files() {
  await pipeline(fs.createReadStream('big'), zlib.createGzip(), fs.createWriteStream('big.gz'));
  await pipeline(fs.createReadStream('big.gz'), zlib.createGunzip(), fs.createWriteStream('again'));
  console.log('same', fs.readFileSync('again').equals(fs.readFileSync('big')));
  await Promise.all(Array.from({ length: 50 }, (_, i) => fs.promises.writeFile(`f${i}`, String(i))));
  const read = await Promise.all(Array.from({ length: 50 }, (_, i) => fs.promises.readFile(`f${i}`, 'utf8')));
  console.log('files', read.reduce((sum, text) => sum + Number(text), 0));
  for (let i = 0; i < 50; i++) fs.unlinkSync(`f${i}`);
  for (const name of ['big', 'big.gz', 'again']) fs.unlinkSync(name);
  try { fs.readFileSync('missing'); } catch (error) { console.log(error.code, error.syscall, error.errno); }
}

async function main() {
  console.log(path.basename(process.execPath), process.platform, process.arch, os.cpus().length > 0);
  const start = process.hrtime.bigint();
  await workers();
  await children();
  await servers();
  await files();
  await sleep(50);
  console.log('time goes on', process.hrtime.bigint() - start > 50_000_000n);
  const derived = await Promise.all([1, 2, 3, 4].map((i) => new Promise((done) =>
    crypto.pbkdf2('password', `salt${i}`, 2000, 16, 'sha256', (_, key) => done(key.toString('hex'))))));
  console.log(derived.join(' '));
  let garbage = [];
  for (let i = 0; i < 200; i++) garbage = [Buffer.alloc(1 << 18), new Array(50000).fill(i), garbage.length];
  console.log('collected', garbage[1][0]);
  process.once('SIGUSR2', (name) => console.log('signal', name));
  process.kill(process.pid, 'SIGUSR2');
  await sleep(50);
  process.exitCode = 3;
}
