/** Polygons with holes and parts, as GeoJSON in pixel coordinates (y down), exact to the edge. */
import { type Polygon, polygons } from "../../client/rle/polygons.ts";
import { fromRle } from "../../client/rle/runs.ts";
import { type ExportObject, type Subject, UNNAMED } from "./subject.ts";

export function toGeoJson({ name, width, height, objects }: Subject) {
  const image = { file_name: name, width, height };
  return { type: "FeatureCollection", image, features: objects.map(feature) };
}

function feature({ id, label, color, score, rle }: ExportObject) {
  const coordinates = polygons(fromRle(rle)).map(part);
  return {
    type: "Feature",
    id,
    properties: { label: label || UNNAMED, color, score },
    geometry: { type: "MultiPolygon", coordinates },
  };
}

function part({ outer, holes }: Polygon): number[][][] {
  return [outer, ...holes].map(closed);
}

/** GeoJSON repeats a ring's first point at its end. */
function closed(ring: Float32Array): number[][] {
  const points: number[][] = [];
  for (let index = 0; index < ring.length; index += 2)
    points.push([ring[index]!, ring[index + 1]!]);
  return [...points, points[0]!];
}
