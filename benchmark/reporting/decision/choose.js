// The rule of choice.py and the sentence of words.py, over the same data.
const AS_FAST = 0.95;

function meets(option, asked) {
  return (asked.max_ms === null || (option.ms !== null && option.ms <= asked.max_ms))
    && (asked.min_figure === null || option.figure >= asked.min_figure)
    && (asked.max_params === null || option.params <= asked.max_params);
}

function choose(options, pairs, asked) {
  const first = (found) => found.sort((i, j) =>
    options[j].figure - options[i].figure
    || (options[i].ms ?? Infinity) - (options[j].ms ?? Infinity)
    || options[i].params - options[j].params || i - j)[0] ?? null;
  const learned = (option) => option.figure > option.guess + asked.margin;
  const able = options.map((_, i) => i).filter((i) => meets(options[i], asked) && learned(options[i]));
  if (!able.length) return null;
  const best = first([...able]);
  let taken = best, untold = null;
  if (options[best].ms !== null) {
    const time = (i) => options[i].ms;
    const level = able.filter((i) => time(i) !== null && (i === best || pairs[i][best].high >= 0));
    const equal = level.filter((i) => i === best || pairs[i][best].low >= -asked.margin);
    const fastest = Math.min(...equal.map(time));
    taken = first(equal.filter((i) => time(i) * AS_FAST <= fastest));
    untold = first(level.filter((i) => !equal.includes(i) && time(i) < AS_FAST * time(taken)));
  }
  return { taken, best, next: first(able.filter((i) => i !== taken)), untold };
}

function sentence(data, asked) {
  const { options, pairs, words } = data;
  const answer = choose(options, pairs, asked);
  const say = (template, parts) => words[template].replace(/\{(\w+)\}/g, (_, key) => parts[key]);
  if (answer === null) {
    const highest = options.find((option) => meets(option, asked));
    return highest ? say("unlearned", { ...highest.text, name: highest.name }) : words.nobody;
  }
  const { taken, best, next, untold } = answer;
  const pair = (i, j) => ({ ...pairs[i][j].text, name: options[i].name, other: options[j].name });
  const isOpen = ({ low, high }) => high >= 0 && low < -asked.margin;
  const beside = taken === best && next !== null && isOpen(pairs[next][best]) ? next : null;
  const unsettled = untold ?? beside;
  const own = options[taken];
  const other = taken !== best ? best : next;
  let text = say(unsettled === null ? "take" : "take_for_now", { ...own.text, name: own.name });
  if (other === null) text += words.alone;
  else {
    const found = pair(taken, other);
    text += say(found[taken !== best ? "below" : "above"], found);
    if (found.speed) text += say(found.speed, found);
  }
  text += ".";
  if (asked.min_figure !== null && own.low < asked.min_figure) text += words.may_miss;
  if (own.ms === null) text += words.untimed;
  if (unsettled !== null) text += say(pairs[unsettled][best].text.settle, pair(unsettled, best));
  return text + words.ending;
}
