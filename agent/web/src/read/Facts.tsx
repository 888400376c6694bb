import { exportOf } from "../api/client";
import type { Transcript } from "../api/shapes";
import { COMPLETENESS, endReason, STATUS } from "./words";

const FORMATS = { md: "Markdown", txt: "Text", vtt: "Captions", json: "JSON" };
const DIGEST_SHOWN = 16;

/** How the session ran, and what it proves of its own transcript. */
export function Facts({ session }: { session: Transcript }) {
  const { receipt } = session;
  return (
    <section className="facts" aria-labelledby="record">
      <h2 id="record">Record</h2>
      <dl>
        <Fact name="Status" value={STATUS[session.status]} />
        {session.endReason && <Fact name="Ended" value={endReason(session.endReason)} />}
        {session.completeness && (
          <Fact name="Transcript" value={COMPLETENESS[session.completeness]} />
        )}
        {receipt?.reason && <Fact name="Because" value={receipt.reason.replaceAll("_", " ")} />}
        {session.pipeline && <Fact name="Pipeline" value={session.pipeline} />}
        {session.roomName && <Fact name="Room" value={session.roomName} />}
      </dl>
      {receipt && (
        <p className={receipt.kept ? "receipt kept" : "receipt broken"}>
          {receipt.kept
            ? "The receipt holds: this is what was said, turn for turn."
            : "The receipt does not hold: these are not the turns that it names."}
          <code title={receipt.transcriptSha256}>
            <span className="sr-only">Checksum </span>
            {receipt.transcriptSha256.slice(0, DIGEST_SHOWN)}…
          </code>
        </p>
      )}
    </section>
  );
}

function Fact({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

export function Exports({ id }: { id: string }) {
  return (
    <section className="exports" aria-labelledby="export">
      <h2 id="export">Keep a copy</h2>
      <ul>
        {Object.entries(FORMATS).map(([format, name]) => (
          <li key={format}>
            <a href={exportOf(id, format)} download>
              {name}
            </a>
          </li>
        ))}
      </ul>
    </section>
  );
}
