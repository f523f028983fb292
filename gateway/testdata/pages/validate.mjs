// Reads {name: source} from the standard input and writes [[name, message], ...]:
// where the sources break the HTML standard or html-validate's rules of access.
import { text } from "node:stream/consumers";
import { HtmlValidate, StaticConfigLoader } from "html-validate";

const loader = new StaticConfigLoader({
  root: true,
  extends: ["html-validate:standard", "html-validate:a11y"],
  rules: {
    "doctype-style": ["error", { style: "lowercase" }],
  },
});
const validator = new HtmlValidate(loader);
const found = [];
for (const [name, source] of Object.entries(JSON.parse(await text(process.stdin)))) {
  const report = await validator.validateString(source, name);
  for (const result of report.results) {
    const lines = source.split("\n");
    for (const m of result.messages) {
      found.push([name, `${m.ruleId}: ${m.message} (line ${m.line}: ${(lines[m.line - 1] ?? "").slice(Math.max(0, m.column - 40), m.column + 60)})`]);
    }
  }
}
console.log(JSON.stringify(found));
