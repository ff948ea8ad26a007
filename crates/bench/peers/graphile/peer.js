// Graphile Worker as a peer: see crates/bench/src/peers/program.rs.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { Logger, makeWorkerUtils, run } from "graphile-worker";
import pg from "pg";

// Batch mode, as its page on performance has it for the highest rate.
const WORKER = {
  concurrentJobs: 24,
  localQueue: { size: 500 },
  completeJobBatchDelay: 0,
  failJobBatchDelay: 0,
};
// Connections of workers, beside those of submitters.
const CONNECTIONS = WORKER.concurrentJobs + 1;
// Arrays while jobs are queued that are to be drained.
const ARRAY = 1000;
const SUBMITTERS = 4;

const logger = new Logger(() => (level, message) => {
  if (level === "error") {
    console.error(message);
  }
});
const connectionString = process.argv[2];
let pool;
let utils;
let runner;

const commands = {
  async prepare() {
    const client = new pg.Client({ connectionString });
    await client.connect();
    await client.query("DROP SCHEMA IF EXISTS graphile_worker CASCADE");
    await client.end();
    const once = await makeWorkerUtils({ connectionString, logger });
    await once.migrate();
    await once.release();
    return {};
  },

  async open(submitters) {
    pool = new pg.Pool({ connectionString, max: Math.max(submitters, CONNECTIONS), idleTimeoutMillis: 0 });
    pool.on("error", told);
    pool.on("connect", (client) => client.on("error", told));
    // all connections at once, before anything is timed
    const clients = await Promise.all(Array.from({ length: submitters }, () => pool.connect()));
    for (const client of clients) {
      client.release();
    }
    utils = await makeWorkerUtils({ pgPool: pool, logger });
    const { rows } = await pool.query(
      "SELECT current_setting('server_version') AS server, current_setting('fsync') AS synced, current_setting('synchronous_commit') AS committed",
    );
    const [{ server, synced, committed }] = rows;
    const about =
      `Graphile Worker ${version("graphile-worker")}, ${WORKER.concurrentJobs} at once, local queue of ` +
      `${WORKER.localQueue.size}, batched ends, on Node.js ${process.versions.node} and PostgreSQL ${server}: ` +
      `fsync ${synced}, synchronous_commit ${committed}`;
    return { about };
  },

  async fill(jobs) {
    await share(SUBMITTERS, jobs, ARRAY, addMany);
    await pool.query("VACUUM ANALYZE graphile_worker._private_jobs");
    await pool.query("CHECKPOINT");
    return {};
  },

  async drain(jobs) {
    const begin = process.hrtime.bigint();
    let ran = 0;
    await new Promise((resolve, reject) => {
      const noop = () => {
        ran += 1;
        if (ran === jobs) {
          resolve();
        }
      };
      work(noop).catch(reject);
    });
    await done();
    return since(begin);
  },

  async submit(submitters, jobs) {
    const begin = process.hrtime.bigint();
    await share(submitters, jobs, 1, add);
    return since(begin);
  },

  async bulk(submitters, jobs, array) {
    const begin = process.hrtime.bigint();
    await share(submitters, jobs, array, addMany);
    return since(begin);
  },

  async pickup(jobs) {
    let begun;
    await work(() => begun(process.hrtime.bigint()));
    const each = [];
    for (let number = 0; number < jobs; number += 1) {
      const ran = new Promise((resolve) => {
        begun = resolve;
      });
      const before = process.hrtime.bigint();
      await add();
      each.push(Number((await ran) - before));
      await done();
    }
    return { each };
  },

  async count() {
    const { rows } = await pool.query("SELECT count(*)::int AS waiting FROM graphile_worker._private_jobs");
    return rows[0];
  },
};

async function add() {
  await utils.addJob("noop", {});
}

async function addMany(jobs) {
  await utils.addJobs(Array.from({ length: jobs }, () => ({ identifier: "noop", payload: {} })));
}

// Lets so many submitters add so many jobs, each in parts of at most this size, one after the other.
async function share(submitters, jobs, part, add) {
  let left = jobs;
  const submit = async () => {
    while (left > 0) {
      const taken = Math.min(left, part);
      left -= taken;
      await add(taken);
    }
  };
  await Promise.all(Array.from({ length: submitters }, submit));
}

// Starts workers that call this for each job.
async function work(noop) {
  runner = await run({
    pgPool: pool,
    taskList: { noop },
    logger,
    noHandleSignals: true,
    preset: { worker: WORKER },
  });
}

// Waits until there are no jobs: one that is done is removed, a moment after it ran.
async function done() {
  for (;;) {
    const { rows } = await pool.query("SELECT 1 FROM graphile_worker._private_jobs LIMIT 1");
    if (rows.length === 0) {
      return;
    }
  }
}

// Of a connection that breaks the query tells too.
function told(error) {
  console.error(error.message);
}

function since(begin) {
  return { ns: Number(process.hrtime.bigint() - begin) };
}

function version(name) {
  return JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url), "utf8")).version;
}

for await (const line of createInterface({ input: process.stdin })) {
  const [command, ...numbers] = line.split(" ");
  if (command === "end") {
    break;
  }
  let answer;
  try {
    if (!Object.hasOwn(commands, command)) {
      throw new Error(`there is no command ${command}`);
    }
    answer = await commands[command](...numbers.map(Number));
  } catch (error) {
    answer = { error: error.message };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await runner?.stop();
await pool?.end();
// whoever tells it what to do may keep its input open
process.exit();
