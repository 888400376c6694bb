import { type SyntheticEvent, useState } from "react";
import { ApiError, signIn } from "../api/client";
import type { Me } from "../api/shapes";
import { Heading } from "../parts/Heading";
import { Mark } from "../parts/Mark";
import { messageOf, Problem } from "../parts/notices";

interface SignInProps {
  /** Why the link did not sign anybody in. */
  problem: Error | null;
  /** Whether somebody was signed in here a moment ago, with a key that is not good any more. */
  again: boolean;
  onSignedIn: (me: Me) => void;
}

export function SignIn({ problem, again, onSignedIn }: SignInProps) {
  const [key, setKey] = useState("");
  const [refused, setRefused] = useState<unknown>(problem);
  const [busy, setBusy] = useState(false);
  const submit = async (event: SyntheticEvent) => {
    event.preventDefault();
    setBusy(true);
    try {
      onSignedIn(await signIn(key.trim()));
    } catch (error) {
      setRefused(error);
      setBusy(false);
    }
  };
  return (
    <main className="sign-in">
      <form onSubmit={(event) => void submit(event)}>
        <Mark />
        <Heading title="Sign in">{again ? "Please sign in again." : "Good to see you."}</Heading>
        {again ? (
          <p role="alert">
            Your key has expired or was revoked, or in another window you signed out or somebody
            else signed in. You go on where you were.
          </p>
        ) : (
          <p>Sign in with the key that you were given. This browser keeps it, safely.</p>
        )}
        <label htmlFor="key">Key</label>
        <input
          id="key"
          type="password"
          autoComplete="current-password"
          spellCheck={false}
          required
          maxLength={200}
          value={key}
          onChange={(event) => setKey(event.target.value)}
          aria-describedby={refused ? "refused" : undefined}
        />
        {refused !== null && (
          <div id="refused">
            <Problem>{refusal(refused)}</Problem>
          </div>
        )}
        <button type="submit" className="primary" disabled={busy}>
          {busy ? "Signing in…" : "Sign in"}
        </button>
      </form>
    </main>
  );
}

function refusal(error: unknown): string {
  const unknown = error instanceof ApiError && [400, 401].includes(error.status);
  return unknown ? "This key is unknown, expired or revoked." : messageOf(error);
}
