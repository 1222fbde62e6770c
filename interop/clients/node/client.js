// Node's ssh2, driven over standard input: see interop/program.py for the commands.
'use strict';

const fs = require('fs');
const net = require('net');
const readline = require('readline');
const { Client } = require('ssh2');

const client = new Client();
const targets = new Map();

function relay(channel, target, whenOpen) {
  const local = net.connect({ host: '127.0.0.1', port: target, allowHalfOpen: true });
  local.on('connect', () => {
    const stream = channel || whenOpen();
    stream.pipe(local);
    local.pipe(stream);
    stream.on('error', () => local.destroy());
    stream.on('close', () => local.end());
    local.on('error', () => stream.end());
  });
  return local;
}

client.on('tcp connection', (details, accept, reject) => {
  const target = targets.get(`${details.destIP}:${details.destPort}`);
  const local = relay(null, target, accept);
  local.on('error', () => { if (local.connecting) reject(); });
});

function login([host, port, username, key], done) {
  let answered = false;
  const once = (error) => { if (!answered) { answered = true; done(error, ''); } };
  client.on('ready', () => once()).on('error', once);
  // The gateway was started for this run alone, so its host key is not checked.
  client.connect({ host, port: Number(port), username, privateKey: fs.readFileSync(key) });
}

function exec(command, done) {
  client.exec(command, (error, channel) => {
    if (error) return done(error);
    const parts = [];
    let status = null;
    channel.on('data', (data) => parts.push(data));
    channel.on('exit', (code) => { status = code; });
    channel.on('close', () => done(status === null && new Error('no exit status came'),
      `${status} ${Buffer.concat(parts).toString('hex')}`));
    channel.stderr.resume();
  });
}

const commands = {
  login,
  forward([host, port, target], done) {
    client.forwardIn(host, Number(port), (error, bound) => {
      if (error) return done(error);
      const given = Number(port) || bound;
      targets.set(`${host}:${given}`, Number(target));
      done(null, String(given));
    });
  },
  cancel([host, port], done) {
    client.unforwardIn(host, Number(port), (error) => done(error, ''));
  },
  direct([host, port, target], done) {
    client.forwardOut('127.0.0.1', 1, host, Number(port), (error, channel) => {
      if (error) return done(error);
      relay(channel, Number(target));
      done(null, '');
    });
  },
  rekey(_, done) {
    done(null, null);
  },
  quit(_, done) {
    client.on('close', () => { done(null, ''); process.exit(0); });
    client.end();
  },
};

console.log(`ready ssh2 ${require('ssh2/package.json').version}`);
readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const [word, ...rest] = line.split(' ');
  const done = (error, answer) => {
    if (error) console.log(`no ${error.message}`);
    else if (answer === null) console.log('n/a its client has neither a bound nor a call for it');
    else console.log(`ok ${answer}`);
  };
  if (word === 'exec') exec(line.slice(5), done);
  else commands[word](rest, done);
});
