// Masks in the page: one byte a pixel, row by row; as COCO's run lengths; and as pictures.

// The run lengths of a compressed text (cocoapi, rleFrString).
export function expanded(text) {
  const counts = [];
  let value = 0;
  let shift = 0;
  for (const letter of text) {
    const code = letter.charCodeAt(0) - 48;
    value |= (code & 31) << shift;
    shift += 5;
    if (code & 32) continue;
    if (code & 16) value -= 2 ** shift;
    counts.push(counts.length > 2 ? value + counts.at(-2) : value);
    value = shift = 0;
  }
  return counts;
}

// Run lengths go column by column, zeros first.
export function maskOf(counts, rows, columns) {
  const mask = new Uint8Array(rows * columns);
  let at = 0;
  counts.forEach((count, place) => {
    if (place % 2) for (let one = at; one < at + count; one += 1) mask[(one % rows) * columns + Math.floor(one / rows)] = 1;
    at += count;
  });
  return mask;
}

export function countsOf(mask, rows, columns) {
  const counts = [];
  let before = 0;
  let run = 0;
  for (let column = 0; column < columns; column += 1) {
    for (let row = 0; row < rows; row += 1) {
      const value = mask[row * columns + column] ? 1 : 0;
      if (value !== before) {
        counts.push(run);
        run = 0;
        before = value;
      }
      run += 1;
    }
  }
  return [...counts, run];
}

export function boxAround(mask, rows, columns) {
  let [left, top, right, bottom] = [columns, rows, -1, -1];
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      if (!mask[row * columns + column]) continue;
      left = Math.min(left, column);
      right = Math.max(right, column);
      top = Math.min(top, row);
      bottom = row;
    }
  }
  return right < 0 ? null : [left, top, right - left + 1, bottom - top + 1];
}

export function polygonMask(polygons, rows, columns) {
  const canvas = new OffscreenCanvas(columns, rows);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  for (const points of polygons) {
    context.beginPath();
    for (let at = 0; at < points.length; at += 2) context.lineTo(points[at], points[at + 1]);
    context.closePath();
    context.fill();
  }
  const { data } = context.getImageData(0, 0, columns, rows);
  return Uint8Array.from({ length: rows * columns }, (_, at) => (data[4 * at + 3] >= 128 ? 1 : 0));
}

// The values of a gray picture in base64; nothing is scaled or made lighter on the way.
export async function valuesOf(png, rows, columns) {
  const bytes = Uint8Array.from(atob(png), (letter) => letter.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }), { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const context = new OffscreenCanvas(columns, rows).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, columns, rows);
  return Uint8Array.from({ length: rows * columns }, (_, at) => data[4 * at]);
}

export async function pngOf(values, rows, columns) {
  const canvas = new OffscreenCanvas(columns, rows);
  const pixels = new Uint8ClampedArray(4 * rows * columns);
  for (let at = 0; at < values.length; at += 1) {
    pixels.fill(values[at], 4 * at, 4 * at + 3);
    pixels[4 * at + 3] = 255;
  }
  canvas.getContext("2d").putImageData(new ImageData(pixels, columns, rows), 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}
