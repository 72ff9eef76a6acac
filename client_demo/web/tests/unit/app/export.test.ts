import { inflateSync } from "node:zlib";
import fc from "fast-check";
import { unzipSync } from "fflate";
import { describe, expect, test, vi } from "vitest";
import { CocoError, fromCoco, toCoco } from "../../../src/app/export/coco.ts";
import { bundle, EXPORTERS } from "../../../src/app/export/files.ts";
import { toGeoJson } from "../../../src/app/export/geojson.ts";
import { maskPng } from "../../../src/app/export/png.ts";
import {
  ExportError,
  type ExportObject,
  jsonFile,
  type Subject,
  stem,
} from "../../../src/app/export/subject.ts";
import { jobs } from "../../../src/client/rle/jobs.ts";
import { paintRows } from "../../../src/client/rle/raster.ts";
import { bbox, fromRle, type Runs } from "../../../src/client/rle/runs.ts";

const SIZE = { width: 8, height: 6 };

function object(id: number, label: string, parts: number[][][]): ExportObject {
  const { rle, area, bbox: box } = jobs.fill(SIZE, parts);
  return { id, label, color: "#ff8000", rle, area, bbox: box, score: id === 1 ? 0.5 : null };
}

const ring = [0, 0, 5, 0, 5, 5, 0, 5];
const hole = [1, 1, 3, 1, 3, 3, 1, 3];
const island = [6, 0, 8, 0, 8, 2, 6, 2];
const subject: Subject = {
  ...SIZE,
  name: "my photo.jpg",
  blob: new Blob(),
  objects: [object(1, "ring", [[ring, hole], [island]]), object(4, "", [[island]])],
};
const categories = ["cat", "ring", "object"].map((name, at) => ({ id: at + 5, name }));
const context = { categories, done: () => {}, skipped: () => {} };

describe("COCO", () => {
  const coco = toCoco([subject], categories);

  test("holds every category, unnamed objects under a name of their own", () => {
    expect(coco.categories).toMatchObject(categories);
    expect(coco.annotations.map(({ category_id }) => category_id)).toEqual([6, 7]);
  });

  test("comes back in as it went out", () => {
    const { images, categories: names } = fromCoco(JSON.stringify(coco));
    const [image] = images;
    expect(names).toMatchObject(categories);
    expect(image).toMatchObject({ name: "my photo.jpg", ...SIZE });
    const shapes = image!.objects.map(({ shape }) => ("rle" in shape ? shape.rle : null));
    expect(shapes).toEqual(subject.objects.map(({ rle }) => rle));
  });

  test("polygons and plain counts of other tools are read too", () => {
    const annotations = [
      { image_id: 1, category_id: 9, segmentation: [island] },
      { image_id: 1, category_id: 9, segmentation: { size: [6, 8], counts: [36, 12] } },
    ];
    const images = [{ id: 1, file_name: "a.jpg", ...SIZE }];
    const [image] = fromCoco(JSON.stringify({ images, annotations })).images;
    expect(image!.objects[0]!.shape).toEqual({ polygons: [island] });
    const { shape } = image!.objects[1]!;
    expect("rle" in shape && bbox(fromRle(shape.rle))).toEqual([6, 0, 2, 6]);
  });

  test.each([null, 7, [{ id: 1 }], [{ id: 1, name: 7 }], [null]])(
    "categories of %j are none, and the masks are read",
    (names) => {
      const annotations = [{ image_id: 1, category_id: 1, segmentation: [island] }];
      const images = [{ id: 1, file_name: "a.jpg", ...SIZE }];
      const read = fromCoco(JSON.stringify({ images, annotations, categories: names }));
      expect(read.categories).toEqual([]);
      expect(read.images[0]!.objects).toMatchObject([{ label: "" }]);
    },
  );

  test.each(["not json", '{"images": []}', "null", "3"])("%s is no COCO file", (source) => {
    expect(() => fromCoco(source)).toThrow(CocoError);
  });
});

describe("files", () => {
  test("one is itself, several are a zip", async () => {
    const files = await EXPORTERS.masks([subject], context);
    expect(files.map(({ name }) => name)).toEqual([
      "my_photo-01-ring.png",
      "my_photo-02-object.png",
    ]);
    expect(bundle(files.slice(0, 1), "masks").name).toBe("my_photo-01-ring.png");
    const zip = bundle(files, "masks");
    expect(zip.name).toBe("samwire-masks.zip");
    const entries = unzipSync(zip.bytes);
    expect(entries["my_photo-01-ring.png"]).toEqual(files[0]!.bytes);
  });

  test("pictures of one name do not overwrite each other", async () => {
    const files = await EXPORTERS.indexed([subject, subject, subject], context);
    const names = Object.keys(unzipSync(bundle(files, "indexed").bytes));
    expect(names).toEqual(["my_photo.index.png", "my_photo.index-2.png", "my_photo.index-3.png"]);
  });

  test("a class is no file name: it keeps its dots, slashes and marks as far as it can", async () => {
    const labels = ["Mr. Smith", "a/b", "हिन्दी", "..."];
    const objects = labels.map((label) => ({ ...subject.objects[0]!, label }));
    const files = await EXPORTERS.masks([{ ...subject, objects }], context);
    expect(files.map(({ name }) => name)).toEqual([
      "my_photo-01-Mr._Smith.png",
      "my_photo-02-a_b.png",
      "my_photo-03-हिन्दी.png",
      "my_photo-04-....png",
    ]);
  });

  test("names that some file systems take for one are told apart", async () => {
    const pictures = ["sea.jpg", "Sea.jpg", "café.jpg", "cafe\u0301.jpg"];
    const files = await EXPORTERS.polygons(
      pictures.map((name) => ({ ...subject, name })),
      context,
    );
    const names = Object.keys(unzipSync(bundle(files, "polygons").bytes));
    const accent = "cafe\u0301-2.geojson";
    expect(names).toEqual(["sea.geojson", "Sea-2.geojson", "café.geojson", accent]);
  });

  test("names lose what file systems dislike", () => {
    expect(stem("C:\\holiday\\sea & sun.JPG")).toBe("sea_sun");
    expect(stem("")).toBe("picture");
    expect(new TextDecoder().decode(jsonFile("a.json", { a: 1 }).bytes)).toMatch(/"a": 1/);
  });

  test("the indexed picture holds later objects on top", async () => {
    const [file] = await EXPORTERS.indexed([subject], context);
    const rows = pixelsOf(file!.bytes, SIZE);
    expect(rows[0]).toBe(1);
    expect(rows[2 * SIZE.width + 2]).toBe(0);
    expect(rows[7]).toBe(2);
  });

  test.each(["masks", "indexed", "polygons"] as const)("%s tell of every object", async (kind) => {
    let made = 0;
    const done = (count: number) => {
      made += count;
    };
    await EXPORTERS[kind]([subject, subject], { ...context, done });
    expect(made).toBe(4);
  });

  test("more objects than an indexed picture can tell apart are refused in words", async () => {
    const crowd = { ...subject, objects: Array.from({ length: 256 }, () => subject.objects[0]!) };
    await expect(EXPORTERS.indexed([crowd], context)).rejects.toThrow(
      "my photo.jpg has 256 objects, and an indexed PNG holds 255. Export PNG masks instead.",
    );
    expect(await EXPORTERS.masks([crowd], context)).toHaveLength(256);
  });

  test("cut-outs skip a picture that the browser cannot show, and name it", async () => {
    const strange = { ...subject, name: "scan.tif", blob: new Blob(["strange"]) };
    vi.stubGlobal("createImageBitmap", async (blob: Blob) => {
      if (blob === strange.blob) throw new DOMException("", "InvalidStateError");
      return { close: () => {} };
    });
    vi.stubGlobal("OffscreenCanvas", FakeCanvas);
    const told: string[] = [];
    const skipped = (name: string) => void told.push(name);
    const files = await EXPORTERS.cutouts([strange, subject], { ...context, skipped });
    expect([files.length, told]).toEqual([2, ["scan.tif"]]);
    await expect(EXPORTERS.cutouts([strange], context)).rejects.toThrow(ExportError);
    vi.unstubAllGlobals();
  });

  test("what was transparent in a picture is so in its cut-outs", async () => {
    vi.stubGlobal("createImageBitmap", async () => ({ close: () => {} }));
    vi.stubGlobal("OffscreenCanvas", FakeCanvas);
    await EXPORTERS.cutouts([{ ...subject, objects: [object(1, "", [[ring, hole]])] }], context);
    const alpha = FakeCanvas.last.filter((_, at) => at % 4 === 3);
    const rows = [0, 1, 2, 3, 4].map((y) => [...alpha.subarray(y * 5, (y + 1) * 5)]);
    expect(rows).toEqual([
      [50, 50, 50, 50, 50],
      [50, 0, 0, 50, 50],
      [50, 0, 0, 50, 50],
      [50, 50, 50, 50, 50],
      [50, 50, 50, 50, 50],
    ]);
    vi.unstubAllGlobals();
  });

  test("polygons keep parts and holes", () => {
    const { coordinates } = toGeoJson(subject).features[0]!.geometry;
    expect(coordinates.map((part) => part.length)).toEqual([2, 1]);
    expect(coordinates[0]![0]!.at(0)).toEqual(coordinates[0]![0]!.at(-1));
  });
});

describe("a mask as PNG", () => {
  const white = (runs: Runs) => {
    const rows = new Uint8Array(runs.width * runs.height);
    paintRows(runs, rows, 255);
    return rows;
  };

  test("is a mask to the pixel, whatever its size and its runs", () => {
    const sizes = fc.record({ width: fc.integer({ min: 1, max: 700 }), height: fc.constant(9) });
    const cases = sizes.chain((size) => {
      const at = fc.nat(size.width * size.height);
      return fc.tuple(fc.constant(size), fc.array(at, { maxLength: 40 }));
    });
    fc.assert(
      fc.property(cases, ([{ width, height }, cuts]) => {
        // Cut anywhere, twice at one place too: a run of nothing is a run.
        const ends = [...cuts.sort((a, b) => a - b), width * height];
        const lengths = Uint32Array.from(ends, (end, at) => end - (ends[at - 1] ?? 0));
        const runs = { width, height, lengths };
        expect(Buffer.compare(pixelsOf(maskPng(runs), runs), white(runs))).toBe(0);
      }),
    );
  });

  test("of twelve megapixels is a small file", () => {
    const size = { width: 4000, height: 3000 };
    const disc = jobs.stroke(size, null, [2000, 1500], 500, "union");
    const png = maskPng(disc);
    expect(Buffer.compare(pixelsOf(png, size), white(disc))).toBe(0);
    expect(png.length).toBeLessThan(20_000);
  });
});

/** What cut-outs ask of a canvas, and Node has not. */
class FakeCanvas {
  static last = new Uint8ClampedArray();

  getContext() {
    const getImageData = (_: number, __: number, width: number, height: number) => ({
      data: new Uint8ClampedArray(width * height * 4).fill(50),
    });
    const putImageData = ({ data }: { data: Uint8ClampedArray<ArrayBuffer> }) => {
      FakeCanvas.last = data;
    };
    return { drawImage: () => {}, getImageData, putImageData };
  }

  convertToBlob = async () => new Blob();
}

/** What an eight-bit PNG holds whose rows are plain, or differences to the one above. */
function pixelsOf(png: Uint8Array, { width, height }: typeof SIZE): Uint8Array {
  const buffer = Buffer.from(png);
  const at = buffer.indexOf("IDAT");
  const lines = inflateSync(buffer.subarray(at + 4, at + 4 + buffer.readUInt32BE(at - 4)));
  expect(lines).toHaveLength((width + 1) * height);
  const rows = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const line = lines.subarray(y * (width + 1), (y + 1) * (width + 1));
    for (let x = 0; x < width; x++) {
      const above = line[0] === 2 && y > 0 ? rows[(y - 1) * width + x]! : 0;
      rows[y * width + x] = line[x + 1]! + above;
    }
  }
  return rows;
}
