import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { lazy, Suspense, useEffect, useState } from "react";
import { Redirect, Route, Switch, useLocation } from "wouter";
import { signOut } from "./api/client";
import { watchRefusals } from "./api/refusals";
import type { Me } from "./api/shapes";
import { Frame } from "./parts/Frame";
import { messageOf, Notice, Problem, Waiting } from "./parts/notices";
import { Rescue } from "./parts/Rescue";
import { SessionPage } from "./read/SessionPage";
import { SessionsPage } from "./read/SessionsPage";
import { arrive, type Arrival } from "./sign-in/arriving";
import { Replacing } from "./sign-in/Replacing";
import { SignIn } from "./sign-in/SignIn";

// LiveKit's client is most of this page: who only reads does without
const Talk = lazy(() => import("./talk/Talk").then(({ Talk }) => ({ default: Talk })));

const ME = ["me"];

/** The whole page; `linkKey` is the key of the link that it was opened with. */
export function App({ linkKey }: { linkKey: string | null }) {
  const queries = useQueryClient();
  const [refused, setRefused] = useState(false);
  const arrival = useQuery({
    queryKey: ME,
    queryFn: () => arrive(linkKey),
    staleTime: Infinity,
    retry: false,
    // whoever types a key meanwhile goes on typing it
    refetchOnWindowFocus: false,
    refetchOnReconnect: false,
  });
  const { me = null, other = null } = arrival.data ?? {};
  const known = me !== null;
  useEffect(
    () => (known ? watchRefusals(queries, () => setRefused(true)) : undefined),
    [queries, known],
  );
  if (arrival.isPending) return <Waiting what="Signing in" />;
  const enter = (who: Me) => {
    // another person's key, perhaps: nothing that was read with the last one is shown
    queries.removeQueries({ predicate: ({ queryKey }) => queryKey[0] !== ME[0] });
    queries.setQueryData<Arrival>(ME, { me: who, other: null });
    setRefused(false);
  };
  if (linkKey !== null && me && other) {
    return <Replacing me={me} other={other} linkKey={linkKey} onSignedIn={enter} />;
  }
  if (me && !refused) return <SignedIn me={me} />;
  return <SignIn problem={arrival.error} again={refused} onSignedIn={enter} />;
}

function SignedIn({ me }: { me: Me }) {
  const leaving = useMutation({
    mutationFn: signOut,
    onSuccess: () => location.assign("/"),
  });
  const [path] = useLocation(); // another view may be well
  const talks = me.scopes.includes("client") || me.scopes.includes("coach");
  const reads = talks || me.scopes.includes("admin");
  return (
    <Frame me={me} talks={talks} reads={reads} onSignOut={() => leaving.mutate()}>
      {leaving.error && (
        <Problem>You are still signed in. {messageOf(leaving.error)} Try again.</Problem>
      )}
      <Rescue key={path}>{reads ? <Views me={me} talks={talks} /> : <NothingHere />}</Rescue>
    </Frame>
  );
}

function NothingHere() {
  return <Notice title="Nothing to see here">This key is for programs, not for this page.</Notice>;
}

function Views({ me, talks }: { me: Me; talks: boolean }) {
  return (
    <Switch>
      <Route path="/">
        {talks ? (
          <Suspense fallback={<Waiting what="Loading" />}>
            <Talk me={me} />
          </Suspense>
        ) : (
          <Redirect to="/sessions" replace />
        )}
      </Route>
      <Route path="/sessions">
        <SessionsPage me={me} />
      </Route>
      <Route path="/sessions/:id">{({ id }) => <SessionPage id={id} me={me} />}</Route>
      <Route>
        <Notice title="There is nothing here">The address leads nowhere.</Notice>
      </Route>
    </Switch>
  );
}
