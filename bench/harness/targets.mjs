/**
 * What a row promises. A target is made by one of the three functions below and judged on the row's
 * standings; it is `met`, `missed`, or `unknown` where ours or the peer was not measured.
 *
 * A standing is `{ client, configuration, isDefault, samples, summary, failure? }`; `samples[r]` are the
 * metrics of round r, `summary[metric]` their median, min and max.
 */

/**
 * Ours divided by the best peer's, medians; the range is that of the ratios within one round each.
 * `against`: "defaults" (the best peer in its defaults), "any" (the best peer in any configuration), or a
 * client's name (that client in its defaults). One of `atLeast` and `atMost`.
 */
export function ratio({ metric, against, atLeast, atMost }) {
  const better = atLeast === undefined ? "lower" : "higher";
  return {
    metric,
    judge(standings) {
      const ours = measured(standings).find(isOurs);
      const peer = best(measured(standings).filter(eligible(against)), metric, better);
      const bound = bounds({ atLeast, atMost }, "×");
      const label = `ours / ${peer ? nameOf(peer) : against} (${reading[against] ?? "its defaults"})`;
      if (!ours || !peer) return { metric, label, bound, verdict: "unknown" };
      const value = ours.summary[metric].median / peer.summary[metric].median;
      const perRound = ours.samples
        .map((sample, round) => sample[metric] / peer.samples[round]?.[metric])
        .filter(Number.isFinite);
      return {
        metric,
        label,
        bound,
        value,
        unit: "×",
        min: Math.min(...perRound),
        max: Math.max(...perRound),
        verdict: verdict(value, { atLeast, atMost }),
      };
    },
  };
}

/** Ours alone against a figure. */
export function limit({ metric, unit, atLeast, atMost }) {
  return {
    metric,
    judge(standings) {
      const ours = measured(standings).find(isOurs);
      const bound = bounds({ atLeast, atMost }, ` ${unit}`);
      if (!ours) return { metric, label: "ours", bound, verdict: "unknown" };
      const { median, min, max } = ours.summary[metric];
      return {
        metric,
        label: "ours",
        bound,
        value: median,
        unit: ` ${unit}`,
        min,
        max,
        verdict: verdict(median, { atLeast, atMost }),
      };
    },
  };
}

/** Ours no more than a peer's in its defaults plus `slack`; for figures around zero, where a ratio says nothing. */
export function noMoreThan({ metric, unit, peer: client, slack }) {
  return {
    metric,
    judge(standings) {
      const ours = measured(standings).find(isOurs);
      const peer = measured(standings).find(eligible(client));
      const label = `ours − ${client} (its defaults)`;
      const bound = bounds({ atMost: slack }, ` ${unit}`);
      if (!ours || !peer) return { metric, label, bound, verdict: "unknown" };
      const value = ours.summary[metric].median - peer.summary[metric].median;
      return { metric, label, bound, value, unit: ` ${unit}`, verdict: verdict(value, { atMost: slack }) };
    },
  };
}

/** The standing with the best median of `metric`, or undefined. */
export function best(standings, metric, better) {
  const sign = better === "higher" ? 1 : -1;
  return standings.reduce(
    (leader, standing) =>
      leader && sign * leader.summary[metric].median >= sign * standing.summary[metric].median ? leader : standing,
    undefined,
  );
}

export const isOurs = (standing) => standing.client === "ours";
export const measured = (standings) => standings.filter((standing) => standing.summary);
export const nameOf = ({ client, configuration, isDefault }) => (isDefault ? client : `${client} ${configuration}`);

const reading = { defaults: "best in defaults", any: "best in any configuration" };

const eligible = (against) => (standing) => {
  if (isOurs(standing)) return false;
  if (against === "any") return true;
  if (!standing.isDefault) return false;
  return against === "defaults" || standing.client === against;
};

const bounds = ({ atLeast, atMost }, unit) => (atLeast === undefined ? `≤ ${atMost}${unit}` : `≥ ${atLeast}${unit}`);

const verdict = (value, { atLeast = -Infinity, atMost = Infinity }) =>
  value >= atLeast && value <= atMost ? "met" : "missed";
