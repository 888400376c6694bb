import { useMutation } from "@tanstack/react-query";
import { signIn } from "../api/client";
import type { Me } from "../api/shapes";
import { Heading } from "../parts/Heading";
import { Mark } from "../parts/Mark";
import { messageOf, Problem } from "../parts/notices";

interface ReplacingProps {
  me: Me;
  other: Me;
  linkKey: string;
  onSignedIn: (me: Me) => void;
}

/** Asks who is here: the person that this browser knows, or the one that the link is for. */
export function Replacing({ me, other, linkKey, onSignedIn }: ReplacingProps) {
  const replacing = useMutation({ mutationFn: () => signIn(linkKey), onSuccess: onSignedIn });
  return (
    <main className="sign-in">
      <form onSubmit={(event) => event.preventDefault()}>
        <Mark />
        <Heading title="Sign in">Who is it?</Heading>
        <p>
          The link that you opened is for {nameOf(other)}. In this browser {nameOf(me)} is signed
          in.
        </p>
        {replacing.error && <Problem>{messageOf(replacing.error)}</Problem>}
        <button type="button" className="primary" onClick={() => onSignedIn(me)}>
          Go on as {nameOf(me)}
        </button>
        <button type="button" disabled={replacing.isPending} onClick={() => replacing.mutate()}>
          Sign in as {nameOf(other)}
        </button>
      </form>
    </main>
  );
}

function nameOf(me: Me): string {
  return me.name ?? me.identity ?? "somebody without a name";
}
