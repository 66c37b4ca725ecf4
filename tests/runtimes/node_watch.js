// timeout: 60
// host: linux
// Watched directories and files.
'use strict';
const fs = require('fs');
const { once } = require('events');
const sleep = require('timers/promises').setTimeout;

async function directory() {
  fs.mkdirSync('watched');
  const watcher = fs.watch('watched');
  const seen = new Set();
  watcher.on('change', (kind, name) => seen.add(`${kind} ${name}`));
  fs.writeFileSync('watched/file', 'one');
  await sleep(100);
  fs.appendFileSync('watched/file', 'two');
  await sleep(100);
  fs.renameSync('watched/file', 'watched/other');
  await sleep(100);
  fs.unlinkSync('watched/other');
  await sleep(100);
  fs.rmdirSync('watched');
  watcher.close();
  console.log([...seen].sort().join(', '));
}

async function file() {
  fs.writeFileSync('file', 'one');
  const watcher = fs.watch('file');
  setTimeout(() => fs.appendFileSync('file', 'two'), 20);
  console.log((await once(watcher, 'change')).join(' '));
  watcher.close();
  const polled = new Promise((done) => fs.watchFile('file', { interval: 50 }, (now, before) => done([now.size, before.size])));
  setTimeout(() => fs.writeFileSync('file', 'much longer'), 100);
  console.log(await polled);
  fs.unwatchFile('file');
  fs.unlinkSync('file');
  const aborted = new AbortController();
  setTimeout(() => aborted.abort(), 50);
  try {
    for await (const change of fs.promises.watch('.', { signal: aborted.signal })) console.log(change.eventType);
  } catch (error) {
    console.log(error.name);
  }
}

directory().then(file);
