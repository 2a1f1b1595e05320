/** What is printed: a table and the verdicts for each row, and all verdicts once more at the end. */
import { best, isOurs, measured } from "./targets.mjs";

export function printRow(row, standings, verdicts, settings) {
  console.log(`\n${row.title}  (${row.name}${settings.quick ? ", quick: not a figure to quote" : ""})`);
  const ours = measured(standings).find(isOurs);
  const [primary, ...others] = row.metrics;
  const peers = measured(standings).filter((standing) => !isOurs(standing));
  const leader = primary.isAroundZero ? undefined : best(peers, primary.key, primary.better);
  const header = [
    "client",
    "configuration",
    primary.title,
    "min – max",
    ...others.map(({ title }) => title),
    "ours ÷ this",
  ];
  const lines = standings.map((standing) => {
    const { client, configuration, summary } = standing;
    if (!summary) return [client, configuration, `failed: ${standing.failure}`];
    const { median, min, max } = summary[primary.key];
    return [
      client,
      configuration + (standing === leader ? " *" : ""),
      figure(median, primary.digits),
      `${figure(min, primary.digits)} – ${figure(max, primary.digits)}`,
      ...others.map(({ key, digits }) => figure(summary[key].median, digits)),
      ours && leader && !isOurs(standing) ? `${(ours.summary[primary.key].median / median).toFixed(2)}×` : "",
    ];
  });
  printTable([header, ...lines]);
  console.log(`  medians of the rounds${leader ? "; * best peer" : ""}`);
  for (const verdict of verdicts) console.log(`  ${verdictLine(row, verdict)}`);
}

export function printSummary(judged) {
  const verdicts = judged.flatMap(({ row, verdicts }) => verdicts.map((verdict) => ({ row, verdict })));
  if (verdicts.length === 0) return;
  console.log("\nTargets");
  for (const { row, verdict } of verdicts) console.log(`  ${row.name.padEnd(14)} ${verdictLine(row, verdict)}`);
  const count = (is) => verdicts.filter(({ verdict }) => verdict.verdict === is).length;
  console.log(`  ${count("met")} met, ${count("missed")} missed, ${count("unknown")} unknown`);
}

function verdictLine(row, { metric, label, bound, value, unit, min, max, verdict }) {
  const what = `${row.metrics.find(({ key }) => key === metric).title}, ${label}`;
  if (verdict === "unknown") return `UNKNOWN  ${what}: not measured, target ${bound}`;
  const range = min === undefined ? "" : ` (${min.toFixed(2)} – ${max.toFixed(2)})`;
  return `${verdict.toUpperCase().padEnd(7)}  ${what}: ${value.toFixed(2)}${unit}${range}, target ${bound}`;
}

/** Digits in groups of three, so that 71 500 and 715 000 are told apart at a glance. */
function figure(value, digits) {
  const [whole, fraction] = value.toFixed(digits).split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, " ");
  return fraction ? `${grouped}.${fraction}` : grouped;
}

function printTable(lines) {
  const columns = Math.max(...lines.map((line) => line.length));
  // A line that is a failure's message is not to widen the columns of the figures.
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(...lines.filter((line) => line.length === columns).map((line) => line[column].length)),
  );
  for (const line of lines) {
    const cells = line.map((cell, column) =>
      column < 2 ? cell.padEnd(widths[column]) : cell.padStart(line.length === columns ? widths[column] : 0),
    );
    console.log(`  ${cells.join("  ").trimEnd()}`);
  }
}
