/** What a file is, by its first bytes: names and types that browsers give are only guesses from its suffix. */

/**
 * @typedef {{format: string, width?: number, height?: number, animated?: boolean}} Header
 * @param {DataView} bytes the file's beginning
 * @returns {Header} the format "unknown" for what is not recognized; sizes where they are known
 */
export function readHeader(bytes) {
  if (starts(bytes, [0xff, 0xd8, 0xff])) return { format: "jpeg", ...jpegSize(bytes) };
  if (starts(bytes, [0x89, 0x50, 0x4e, 0x47])) return { format: "png", ...pngFacts(bytes) };
  if (text(bytes, 0, 4) === "RIFF" && text(bytes, 8, 4) === "WEBP") return { format: "webp", ...webpFacts(bytes) };
  if (text(bytes, 0, 3) === "GIF") return { format: "gif", ...gifFacts(bytes) };
  if (text(bytes, 0, 2) === "BM" && bytes.byteLength > 26) {
    return { format: "bmp", width: Math.abs(bytes.getInt32(18, true)), height: Math.abs(bytes.getInt32(22, true)) };
  }
  if (text(bytes, 4, 4) === "ftyp") return { format: /^(avif|avis)/.test(text(bytes, 8, 4)) ? "avif" : "heic" };
  if (/^(II\*\0|MM\0\*)/.test(text(bytes, 0, 4))) return { format: "tiff" };
  if (/^\s*(<\?xml|<!--|<!doctype svg|<svg)/i.test(text(bytes, 0, 256).replace("\xef\xbb\xbf", ""))) {
    return { format: "svg" };
  }
  return { format: "unknown" };
}

/**
 * @param {DataView} bytes
 * @param {number[]} expected
 */
function starts(bytes, expected) {
  return bytes.byteLength > expected.length && expected.every((byte, at) => bytes.getUint8(at) === byte);
}

/**
 * @param {DataView} bytes
 * @param {number} start
 * @param {number} length
 */
function text(bytes, start, length) {
  const end = Math.min(start + length, bytes.byteLength);
  let found = "";
  for (let at = start; at < end; at++) found += String.fromCharCode(bytes.getUint8(at));
  return found;
}

/** @param {DataView} bytes */
function jpegSize(bytes) {
  for (let at = 2; at + 9 < bytes.byteLength && bytes.getUint8(at) === 0xff; ) {
    const marker = bytes.getUint8(at + 1);
    if (marker === 0xff) {
      at += 1; // padding
    } else if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      return { height: bytes.getUint16(at + 5), width: bytes.getUint16(at + 7) };
    } else {
      at += 2 + bytes.getUint16(at + 2);
    }
  }
  return {};
}

/** @param {DataView} bytes */
function pngFacts(bytes) {
  if (bytes.byteLength < 24) return {};
  const size = { width: bytes.getUint32(16), height: bytes.getUint32(20) };
  for (let at = 8; at + 8 <= bytes.byteLength; at += 12 + bytes.getUint32(at)) {
    const chunk = text(bytes, at + 4, 4);
    if (chunk === "acTL") return { ...size, animated: true };
    if (chunk === "IDAT") break;
  }
  return size;
}

/** @param {DataView} bytes */
function webpFacts(bytes) {
  if (bytes.byteLength < 30) return {};
  switch (text(bytes, 12, 4)) {
    case "VP8X":
      return { width: 1 + uint24(bytes, 24), height: 1 + uint24(bytes, 27), animated: (bytes.getUint8(20) & 2) !== 0 };
    case "VP8 ":
      return { width: bytes.getUint16(26, true) & 0x3fff, height: bytes.getUint16(28, true) & 0x3fff };
    case "VP8L": {
      const packed = bytes.getUint32(21, true);
      return { width: 1 + (packed & 0x3fff), height: 1 + ((packed >> 14) & 0x3fff) };
    }
    default:
      return {};
  }
}

/**
 * @param {DataView} bytes
 * @param {number} at
 */
function uint24(bytes, at) {
  return bytes.getUint16(at, true) + (bytes.getUint8(at + 2) << 16);
}

/** @param {DataView} bytes */
function gifFacts(bytes) {
  if (bytes.byteLength < 13) return {};
  let frames = 0;
  // Every frame has a graphic control extension: 21 f9 04, four bytes, 00. A still image has one at most.
  for (let at = 13; at + 8 <= bytes.byteLength; at++) {
    if (bytes.getUint32(at) >>> 8 === 0x21f904 && bytes.getUint8(at + 7) === 0) frames += 1;
  }
  return { width: bytes.getUint16(6, true), height: bytes.getUint16(8, true), animated: frames > 1 };
}
