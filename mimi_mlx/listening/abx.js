"use strict";

// A blind test: A and B are known, X is one of them, drawn anew in each round.

const ROUNDS = 10;

class Abx {
  constructor(random = Math.random) {
    this.secrets = Array.from({ length: ROUNDS }, () => (random() < 0.5 ? "A" : "B"));
    this.answers = [];
  }

  get round() {
    return this.answers.length;
  }

  get done() {
    return this.round === ROUNDS;
  }

  get score() {
    return this.answers.filter((answer, i) => answer === this.secrets[i]).length;
  }

  // How probable it is to guess at least so many right.
  get chance() {
    let sum = 0;
    for (let right = this.score, ways = choose(ROUNDS, right); right <= ROUNDS; right++) {
      sum += ways;
      ways = (ways * (ROUNDS - right)) / (right + 1);
    }
    return sum / 2 ** ROUNDS;
  }
}

function choose(n, k) {
  let ways = 1;
  for (let i = 1; i <= k; i++) ways = (ways * (n - k + i)) / i;
  return ways;
}

function percent(x) {
  const value = 100 * x;
  return `${value < 10 ? value.toPrecision(2) : Math.round(value)}\u00a0%`;
}

// What a result is in words: what it says, and what it does not.
function verdict(test) {
  const guessing = `Guessing alone gets ${test.score} or more right in ${percent(test.chance)} of tests.`;
  if (test.chance <= 0.05) return `${guessing} You very probably heard a difference.`;
  return `${guessing} This does not show that you heard a difference.`;
}

function report(test, clip, a, b) {
  return [
    `Blind test (ABX) of ${clip}`,
    `A: ${a}`,
    `B: ${b}`,
    `${test.score} of ${ROUNDS} right. ${verdict(test)}`,
    ...test.secrets.map((x, i) => {
      const right = x === test.answers[i] ? "right" : "wrong";
      return `${String(i + 1).padStart(2)}  X was ${x}, said ${test.answers[i]}: ${right}`;
    }),
  ].join("\n");
}

// The test's part of the page. `page` has `player`, `choose(version)`, `play()`, `clip` and
// `title(version)`; `hide(hidden)` hides what would tell which version is heard.
class AbxPanel {
  constructor(root, page) {
    this.page = page;
    this.test = null;
    this.part = (name) => root.querySelector(`[data-abx="${name}"]`);
    for (const sound of ["A", "B", "X"]) {
      this.part(sound).addEventListener("click", () => this.hear(sound));
    }
    this.part("is-A").addEventListener("click", () => this.answer("A"));
    this.part("is-B").addEventListener("click", () => this.answer("B"));
    this.part("start").addEventListener("click", () => this.start());
    this.part("stop").addEventListener("click", () => this.stop());
    this.part("again").addEventListener("click", () => this.stop());
    this.part("copy").addEventListener("click", () => this.copy());
    this.part("first").addEventListener("change", () => this.check());
    this.part("second").addEventListener("change", () => this.check());
  }

  get running() {
    return this.test !== null && !this.test.done;
  }

  // Offer the versions of a clip.
  fill(titles, chosen) {
    for (const name of ["first", "second"]) {
      const options = titles.map((title, i) => new Option(title, i));
      this.part(name).replaceChildren(...options);
    }
    this.part("first").value = 0;
    this.part("second").value = chosen;
    this.check();
  }

  // Two equal ones cannot be told apart.
  check() {
    this.part("start").disabled = this.part("first").value === this.part("second").value;
  }

  show(name) {
    for (const each of ["setup", "rounds", "result"]) this.part(each).hidden = each !== name;
    this.page.hide(name === "rounds");
  }

  start() {
    if (!this.page.player) return; // still loading
    this.test = new Abx();
    this.pair = { A: Number(this.part("first").value), B: Number(this.part("second").value) };
    this.show("rounds");
    this.next();
    this.part("count").focus();
  }

  stop() {
    this.test = null;
    this.page.pause();
    this.show("setup");
    this.part("title").focus();
  }

  next() {
    this.part("count").textContent = `Round ${this.test.round + 1} of ${ROUNDS}`;
    this.part("progress").value = this.test.round;
    this.set("X");
  }

  hear(sound) {
    this.set(sound);
    this.page.play();
  }

  set(sound) {
    const x = this.test.secrets[this.test.round];
    this.page.choose(this.pair[sound === "X" ? x : sound]);
    for (const each of ["A", "B", "X"]) {
      this.part(each).setAttribute("aria-pressed", String(each === sound));
    }
  }

  answer(sound) {
    this.test.answers.push(sound);
    if (!this.test.done) return this.next();
    this.page.pause();
    this.part("score").textContent = `${this.test.score} of ${ROUNDS} right`;
    this.part("verdict").textContent = verdict(this.test);
    const titles = [this.pair.A, this.pair.B].map((i) => this.page.title(i));
    this.part("text").value = report(this.test, this.page.clip.name, ...titles);
    this.part("copied").textContent = "";
    this.show("result");
    this.part("score").focus();
  }

  // Without the clipboard's own interface, which some browsers refuse to a file.
  copy() {
    this.part("text").select();
    this.part("copied").textContent = document.execCommand("copy") ? "Copied." : "Press Ctrl+C.";
  }
}
