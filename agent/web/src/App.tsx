import { useQuery, useQueryClient } from "@tanstack/react-query";
import { lazy, Suspense } from "react";
import { Redirect, Route, Switch } from "wouter";
import { signIn, signOut, whoAmI } from "./api/client";
import type { Me } from "./api/shapes";
import { Frame } from "./parts/Frame";
import { Notice, Waiting } from "./parts/notices";
import { SessionPage } from "./read/SessionPage";
import { SessionsPage } from "./read/SessionsPage";
import { SignIn } from "./sign-in/SignIn";

// LiveKit's client is most of this page: who only reads does without
const Talk = lazy(() => import("./talk/Talk").then(({ Talk }) => ({ default: Talk })));

const ME = ["me"];

/** The whole page; `linkKey` is the key of the link that it was opened with. */
export function App({ linkKey }: { linkKey: string | null }) {
  const queries = useQueryClient();
  const me = useQuery({
    queryKey: ME,
    queryFn: () => (linkKey === null ? whoAmI() : signIn(linkKey)),
    staleTime: Infinity,
    retry: false,
  });
  if (me.isPending) return <Waiting what="Signing in" />;
  if (!me.data) {
    return <SignIn problem={me.error} onSignedIn={(who) => queries.setQueryData(ME, who)} />;
  }
  const leave = async () => {
    await signOut();
    queries.clear();
    location.assign("/");
  };
  return <SignedIn me={me.data} onSignOut={() => void leave()} />;
}

function SignedIn({ me, onSignOut }: { me: Me; onSignOut: () => void }) {
  const talks = me.scopes.includes("client") || me.scopes.includes("coach");
  const reads = talks || me.scopes.includes("admin");
  if (!reads) {
    return (
      <Frame me={me} talks={false} reads={false} onSignOut={onSignOut}>
        <Notice title="Nothing to see here">This key is for programs, not for this page.</Notice>
      </Frame>
    );
  }
  return (
    <Frame me={me} talks={talks} reads={reads} onSignOut={onSignOut}>
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
          <Notice title="There is no such page">The address leads nowhere.</Notice>
        </Route>
      </Switch>
    </Frame>
  );
}
