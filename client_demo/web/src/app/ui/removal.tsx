/** Removing a picture: at once when nothing was made of it, else after a question. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Picture } from "../state/model.ts";
import { useDesk } from "./desk.ts";
import { RemoveQuestion } from "./sheets.tsx";

interface Removal {
  readonly remove: (picture: Picture) => void;
  /** To be rendered wherever it may open. */
  readonly question: JSX.Element | null;
}

export function useRemoval(): Removal {
  const { gallery } = useDesk();
  const [asked, setAsked] = useState<Picture | null>(null);
  const remove = (picture: Picture) => {
    if (picture.history.present.objects.length > 0) setAsked(picture);
    else gallery.remove(picture.key);
  };
  const removeAsked = () => {
    setAsked(null);
    gallery.remove(asked!.key);
  };
  const question = asked && (
    <RemoveQuestion picture={asked} onClose={() => setAsked(null)} onRemove={removeAsked} />
  );
  return { remove, question };
}
