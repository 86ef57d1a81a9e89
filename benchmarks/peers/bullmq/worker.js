// A BullMQ worker with default settings except the concurrency.
"use strict";
const { Worker } = require("bullmq");
const connection = require("./connection.js");
const marks = require("./marks.js");

const REST_MS = 20;

const JOBS = {
  noop: async (index) => marks.ran(index),
  stamp: async (index) => {
    marks.begin(index);
    marks.ran(index);
  },
  rest: async (index) => {
    await new Promise((resolve) => setTimeout(resolve, REST_MS));
    marks.ran(index);
  },
};

const concurrency = Number(process.env.BENCH_CONCURRENCY || "10");
const worker = new Worker("bench", (job) => JOBS[job.name](job.data.index), { connection, concurrency });
worker.on("error", (error) => console.error(error));
