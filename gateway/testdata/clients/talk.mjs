// The other end of a test: it reads one JSON object a line, {"do": NAME, ...}, and
// answers each with {"answer": …} or {"error": …}. Whatever is said besides goes
// to stderr. What every script can do is to put its clock: {"do": "late", "seconds":
// …}.
import { createInterface } from 'node:readline';

console.log = console.info = console.warn = console.error;

const now = Date.now;

export async function talk(can) {
  can.late = ({ seconds }) => { Date.now = () => now() + seconds * 1000; };
  for await (const line of createInterface({ input: process.stdin })) {
    const { do: name, ...what } = JSON.parse(line);
    let out;
    try {
      out = { answer: (await can[name](what)) ?? null };
    } catch (error) {
      console.error(name, error);
      const { code, message, cause } = error;
      const why = Array.isArray(cause) ? cause.map((c) => c.parameters?.error) : [cause?.message]; // of a challenge, or of an error below
      out = { error: [code, error.error, error.error_description, message, ...why].filter(Boolean).join(' · ') };
    }
    process.stdout.write(JSON.stringify(out) + '\n');
  }
  process.exit();
}
