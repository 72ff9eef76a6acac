/** Polygons with holes and parts, as GeoJSON in pixel coordinates (y down), exact to the edge. */
import type { Polygon } from "../../client/index.ts";
import { type ExportObject, type Subject, UNNAMED } from "./subject.ts";

export async function toGeoJson(
  subject: Subject,
  polygonsOf: (object: ExportObject) => Promise<Polygon[]>,
): Promise<unknown> {
  const features = subject.objects.map(async (object) => ({
    type: "Feature",
    id: object.id,
    properties: { label: object.label || UNNAMED, color: object.color, score: object.score },
    geometry: { type: "MultiPolygon", coordinates: (await polygonsOf(object)).map(part) },
  }));
  const { name, width, height } = subject;
  return {
    type: "FeatureCollection",
    image: { file_name: name, width, height },
    features: await Promise.all(features),
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
