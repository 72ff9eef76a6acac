/** The pictures at hand. */
import type { JSX } from "preact";
import type { Picture } from "../state/model.ts";
import { useDesk } from "./desk.ts";
import { Icon, IconButton } from "./icons.tsx";
import { useStore } from "./use-store.ts";

export function Strip(): JSX.Element | null {
  const { context, intake } = useDesk();
  const { pictures, current } = useStore(context.state);
  if (pictures.length === 0) return null;
  return (
    <nav class="strip" aria-label="Pictures">
      <ul>
        {pictures.map((picture) => (
          <Thumbnail key={picture.key} picture={picture} current={picture.key === current} />
        ))}
      </ul>
      <button
        type="button"
        class="add-picture"
        aria-label="Add pictures"
        title="Add pictures (O)"
        onClick={() => intake.pick()}
      >
        <Icon name="plus" />
      </button>
    </nav>
  );
}

function Thumbnail({ picture, current }: { picture: Picture; current: boolean }): JSX.Element {
  const { gallery } = useDesk();
  const url = useStore(gallery.thumbnails.urls).get(picture.key);
  const count = picture.history.present.objects.length;
  const objects = count === 1 ? "1 object" : `${count} objects`;
  return (
    <li class="thumbnail">
      <button
        type="button"
        aria-label={`${picture.name}, ${objects}`}
        aria-current={current ? "true" : undefined}
        title={picture.name}
        onClick={() => gallery.show(picture.key)}
      >
        {url && <img src={url} alt="" />}
        {count > 0 && <span class="badge">{count}</span>}
      </button>
      <IconButton
        icon="close"
        label={`Remove ${picture.name}`}
        class="remove-picture"
        onClick={() => gallery.remove(picture.key)}
      />
    </li>
  );
}
