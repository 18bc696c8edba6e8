// Samples as they are typed.

// The features in a text: JSON where it is an array or an object; else the text itself where the
// model reads text; else names, apart by spaces or commas, each perhaps with a value, as length:2.5.
// Throws an Error for JSON that is none.
export function sampleOf(text, readsText) {
  const trimmed = text.trim();
  if (/^[[{]/.test(trimmed)) {
    try {
      return JSON.parse(trimmed);
    } catch (error) {
      if (!readsText) throw new Error(`expected JSON: ${error.message}`);
    }
  }
  if (readsText) return text;
  const features = {};
  for (const word of trimmed.split(/[\s,]+/).filter(Boolean)) {
    const [, name, value] = /^(.+):([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)$/i.exec(word) ?? [null, word, "1"];
    features[name] = Number(value);
  }
  return features;
}
