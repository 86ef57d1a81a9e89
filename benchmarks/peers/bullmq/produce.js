// As produce.py: each|bulk|wake JOB COUNT SECONDS; prints the timings as JSON.
"use strict";
const { Queue } = require("bullmq");
const connection = require("./connection.js");
const marks = require("./marks.js");

const CHUNK = 100;
const BULK_CHUNK = 1000;
const WAKE_LIMIT_MS = 2000;
const FIRST_LIMIT_MS = 25000;
const PAYLOAD_BYTES = 100;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function payload(index) {
  const bare = JSON.stringify({ index, text: "" }).length;
  return { index, text: "x".repeat(PAYLOAD_BYTES - bare) };
}

async function fill(queue, mode, job, count, seconds) {
  const send = async (first, size) => {
    const indexes = Array.from({ length: size }, (_, i) => first + i);
    if (mode === "bulk") {
      await queue.addBulk(indexes.map((index) => ({ name: job, data: payload(index) })));
      return;
    }
    for (const index of indexes) await queue.add(job, payload(index));
  };
  const chunk = mode === "bulk" ? BULK_CHUNK : CHUNK;
  let sent = Math.min(chunk, count);
  await send(0, sent);
  const begin = performance.now();
  let end = begin;
  let timed = 0;
  while (sent < count && end - begin < seconds * 1000) {
    const size = Math.min(chunk, count - sent);
    await send(sent, size);
    sent += size;
    timed += size;
    end = performance.now();
  }
  return { count: sent, rate: timed ? (timed * 1000) / (end - begin) : 0 };
}

async function wake(queue, job, count, seconds) {
  const latencies = [];
  let end = Infinity;
  for (let index = 0; index < count && performance.now() < end; index++) {
    const data = payload(index);
    const before = process.hrtime.bigint();
    await queue.add(job, data);
    const giveUp = performance.now() + (index ? WAKE_LIMIT_MS : FIRST_LIMIT_MS);
    while (!marks.began(index) && performance.now() < giveUp) await sleep(2);
    const begun = marks.began(index);
    if (begun) latencies.push(Number(begun - before) / 1e6);
    if (index === 0) end = performance.now() + seconds * 1000;
    await sleep(index ? 10 + Math.random() * 30 : 1000);
  }
  return { latencies_ms: latencies.slice(1) };
}

async function main([mode, job, count, seconds]) {
  const queue = new Queue("bench", { connection });
  const report = mode === "wake"
    ? await wake(queue, job, Number(count), Number(seconds))
    : await fill(queue, mode, job, Number(count), Number(seconds));
  console.log(JSON.stringify(report));
  await queue.close();
}

main(process.argv.slice(2));
