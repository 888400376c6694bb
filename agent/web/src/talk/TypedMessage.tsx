import { type SyntheticEvent, useState } from "react";
import { SendIcon } from "./icons";

interface TypedMessageProps {
  text: string;
  onText: (text: string) => void;
  /** Resolves once it is sent; rejects with why it could not be. */
  onSend: (text: string) => Promise<void>;
  onProblem: (error: unknown) => void;
}

/** A message to type; it stays in its field until it is sent. */
export function TypedMessage({ text, onText, onSend, onProblem }: TypedMessageProps) {
  const [sending, setSending] = useState(false);
  const send = async (event: SyntheticEvent) => {
    event.preventDefault();
    if (!text.trim() || sending) return;
    setSending(true);
    try {
      await onSend(text.trim());
      onText("");
    } catch (error) {
      onProblem(error);
    }
    setSending(false);
  };
  return (
    <form className="typed" onSubmit={(event) => void send(event)}>
      <input
        aria-label="Type a message"
        placeholder="Or type…"
        autoComplete="off"
        maxLength={4000}
        readOnly={sending}
        value={text}
        onChange={(event) => onText(event.target.value)}
      />
      <button type="submit" aria-label="Send" title="Send" disabled={!text.trim() || sending}>
        <SendIcon />
      </button>
    </form>
  );
}
