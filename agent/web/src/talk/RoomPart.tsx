import { useRunning } from "../api/queries";
import type { Me, Session } from "../api/shapes";
import { timeOf } from "../read/times";
import { clientOf } from "../read/words";

interface RoomPartProps {
  me: Me;
  name: string;
  onChosen: (name: string) => void;
}

/** Which room to join, for who may have several. */
export function RoomPart({ me, name, onChosen }: RoomPartProps) {
  if (me.rooms !== null) {
    return <RoomChoice rooms={me.rooms} name={name} onChosen={onChosen} />;
  }
  return <RunningChoice me={me} name={name} onChosen={onChosen} />;
}

function RoomChoice({ rooms, name, onChosen }: Omit<RoomPartProps, "me"> & { rooms: string[] }) {
  if (rooms.length < 2) return null;
  return (
    <label className="field">
      <span>Room</span>
      <select value={name} onChange={(event) => onChosen(event.target.value)}>
        {rooms.map((room) => (
          <option key={room}>{room}</option>
        ))}
      </select>
    </label>
  );
}

/** For coaches: who is talking now, or a room by its name. */
function RunningChoice({ me, name, onChosen }: RoomPartProps) {
  const running = (useRunning(me).data ?? []).filter((session) => session.roomName);
  const known = running.some((session) => session.roomName === name);
  return (
    <>
      <fieldset className="running">
        <legend>Going on now</legend>
        {running.length === 0 && <p className="hint">None of your clients is talking right now.</p>}
        {running.map((session) => (
          <Choice
            key={session.id}
            session={session}
            chosen={session.roomName === name}
            onChosen={onChosen}
          />
        ))}
      </fieldset>
      <label className="field">
        <span>{running.length ? "Or another room, by its name" : "A room, by its name"}</span>
        <input
          required={!known}
          maxLength={128}
          value={known ? "" : name}
          onChange={(event) => onChosen(event.target.value)}
        />
      </label>
    </>
  );
}

interface ChoiceProps {
  session: Session;
  chosen: boolean;
  onChosen: (name: string) => void;
}

function Choice({ session, chosen, onChosen }: ChoiceProps) {
  return (
    <label className="running-choice">
      <input
        type="radio"
        name="running"
        checked={chosen}
        onChange={() => onChosen(session.roomName ?? "")}
      />
      <span>{clientOf(session)}</span>
      <span className="hint">since {timeOf(new Date(session.startTime))}</span>
    </label>
  );
}
