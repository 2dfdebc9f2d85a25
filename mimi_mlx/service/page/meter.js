// A level meter: the loudness of what goes through an AnalyserNode, in dB of full scale.

const FLOOR = -60;
const FALL = 1.2; // dB a picture

export class Meter {
  constructor(element) {
    this.element = element;
    this.bar = element.firstElementChild;
    this.samples = new Float32Array(1024);
    this.level = FLOOR;
  }

  draw(analyser) {
    let level = FLOOR;
    if (analyser) {
      analyser.getFloatTimeDomainData(this.samples);
      let sum = 0;
      for (const sample of this.samples) sum += sample * sample;
      level = 10 * Math.log10(sum / this.samples.length + 1e-9);
    }
    this.level = Math.min(0, Math.max(FLOOR, level, this.level - FALL));
    this.bar.style.width = `${(100 * (this.level - FLOOR)) / -FLOOR}%`;
  }

  // For those who hear the page: now and then, not at each picture.
  say() {
    const level = Math.round(this.level);
    this.element.setAttribute("aria-valuenow", level);
    this.element.setAttribute("aria-valuetext", level > FLOOR ? `${level} dB` : "silent");
  }
}
