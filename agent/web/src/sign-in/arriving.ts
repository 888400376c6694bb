/** Who a page is opened for. */

import { isSame, signIn, whoAmI } from "../api/client";
import type { Me } from "../api/shapes";

export interface Arrival {
  /** Who is signed in, null if nobody is. */
  me: Me | null;
  /** Whom the page's link would sign in instead: another person, who is not put in their place
   * unasked. */
  other: Me | null;
}

/** Find out who is signed in; with the key of a link, sign in whose it is, unless that is another
 * person than is signed in. Rejects with why not. */
export async function arrive(linkKey: string | null): Promise<Arrival> {
  const me = await whoAmI();
  if (linkKey === null) return { me, other: null };
  if (me === null) return { me: await signIn(linkKey), other: null };
  const meant = await whoAmI(linkKey);
  // a link that is good for nothing any more takes nothing away
  if (meant === null || meant.csrfToken === me.csrfToken) return { me, other: null };
  if (isSame(me, meant)) return { me: await signIn(linkKey), other: null };
  return { me, other: meant };
}
