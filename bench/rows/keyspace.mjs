/** The keys and values of the raw and the kv rows. Every key has a value of its own, so that a reply given to the wrong caller is noticed. */

/** Keys the load walks through. */
export const SPAN = 1000;

export const keys = Array.from({ length: SPAN }, (_, n) => `bench:${String(n).padStart(4, "0")}`);

/** 80 bytes of text each. */
export const texts = keys.map((key) => `${key}:`.padEnd(80, "abcdefghij"));

/** 250 bytes of JSON each: an object as a service would keep it. */
export const objects = keys.map((_, n) => {
  const object = {
    id: n,
    user: `user-${String(n).padStart(4, "0")}`,
    email: `user-${String(n).padStart(4, "0")}@example.org`,
    roles: ["reader", "writer"],
    active: n % 2 === 0,
    score: 1000.5 + n,
    address: { street: "1 Example Street", city: "Exampleton", zip: "12345" },
    note: "",
  };
  object.note = "n".repeat(250 - JSON.stringify(object).length);
  return object;
});

function wrong(what, n, reply) {
  throw new Error(`wrong ${what} for ${keys[n]}: ${JSON.stringify(reply)?.slice(0, 100)}`);
}

function checkOk(reply, n) {
  if (reply !== "OK") wrong("reply", n, reply);
}

function checkText(reply, n) {
  if (reply !== texts[n]) wrong("text", n, reply);
}

function checkObject(reply, n) {
  if (reply?.id !== n || reply.note !== objects[n].note) wrong("object", n, reply);
}

function checkNothing() {}

/** How a load of one kind is sent and checked on one store (`raw` or `kv` of a client). */
export const work = {
  "raw-get": ({ raw }) => ({ issue: (n) => raw.get(keys[n]), check: checkText }),
  "raw-set": ({ raw }) => ({ issue: (n) => raw.set(keys[n], texts[n]), check: checkOk }),
  "kv-get": ({ kv }) => ({ issue: (n) => kv.get(keys[n]), check: checkObject }),
  "kv-set": ({ kv }) => ({ issue: (n) => kv.set(keys[n], objects[n]), check: checkNothing }),
};

/** Writes every key of that kind of work through the client itself, then reads each back. */
export async function seed(client, kind) {
  const [store, values, check] = kind.startsWith("kv-")
    ? [client.kv, objects, checkObject]
    : [client.raw, texts, checkText];
  for (let n = 0; n < SPAN; n++) await store.set(keys[n], values[n]);
  for (let n = 0; n < SPAN; n++) check(await store.get(keys[n]), n);
}

/** Opens a client on one kind of work; `load(parts)` is the way it is loaded (`harness/load.mjs`). */
export async function openWork(configuration, kind, context, load) {
  const client = await configuration.connect(context.endpoint, context.packageDirectory);
  await seed(client, kind);
  const parts = { span: SPAN, ...work[kind](client) };
  return { sample: () => load(parts), close: () => client.close() };
}
