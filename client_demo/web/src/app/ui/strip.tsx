/** The pictures at hand. */
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { Picture } from "../state/model.ts";
import { counted } from "../work/notices.ts";
import { useDesk } from "./desk.ts";
import { Icon, IconButton, leaveFocus } from "./icons.tsx";
import { useRemoval } from "./removal.tsx";
import { useStore } from "./use-store.ts";

export function Strip(): JSX.Element | null {
  const { context, intake } = useDesk();
  const { pictures, current } = useStore(context.state);
  const { remove, question } = useRemoval();
  if (pictures.length === 0) return null;
  return (
    <nav class="strip" aria-label="Pictures">
      <ul>
        {pictures.map((picture) => (
          <Thumbnail
            key={picture.key}
            picture={picture}
            current={picture.key === current}
            onRemove={() => remove(picture)}
          />
        ))}
      </ul>
      <button
        type="button"
        class="add-picture"
        aria-label="Add pictures"
        title="Add pictures (O)"
        onMouseDown={leaveFocus}
        onClick={() => intake.pick()}
      >
        <Icon name="plus" />
      </button>
      {question}
    </nav>
  );
}

interface ThumbnailProps {
  readonly picture: Picture;
  readonly current: boolean;
  readonly onRemove: () => void;
}

function Thumbnail({ picture, current, onRemove }: ThumbnailProps): JSX.Element {
  const { gallery } = useDesk();
  const url = useStore(gallery.thumbnails.urls).get(picture.key);
  const count = picture.history.present.objects.length;
  const failed = picture.status.kind === "failed";
  const item = useRef<HTMLLIElement>(null);
  useEffect(() => {
    if (current) item.current?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [current]);
  const what = failed ? "could not be opened" : counted(count, "object");
  return (
    <li ref={item} class="thumbnail">
      <button
        type="button"
        aria-label={`${picture.name}, ${what}`}
        aria-current={current ? "true" : undefined}
        title={picture.name}
        onMouseDown={leaveFocus}
        onClick={() => gallery.show(picture.key)}
      >
        {url && <img src={url} alt="" />}
        {(failed || url === null) && <Icon name="warning" />}
        {count > 0 && <span class="badge">{count}</span>}
      </button>
      <IconButton
        icon="close"
        label={`Remove ${picture.name}`}
        class="remove-picture"
        onClick={onRemove}
      />
    </li>
  );
}
