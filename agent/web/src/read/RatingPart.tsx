import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type SyntheticEvent, useState } from "react";
import { rate } from "../api/client";
import { transcriptKey } from "../api/queries";
import type { Me, Transcript } from "../api/shapes";
import { messageOf, Problem } from "../parts/notices";
import { isOf, seesOthers } from "./words";

const WORDS = ["Poor", "Fair", "Good", "Very good", "Excellent"];
const COMMENT_LENGTH = 2000;

/** What the client thought of the session; asked once, of the client alone. */
export function RatingPart({ session, me }: { session: Transcript; me: Me }) {
  if (session.rating)
    return <Given rating={session.rating.rating} comment={session.rating.comment} />;
  const own = me.scopes.includes("client") && (!seesOthers(me) || isOf(session, me));
  return own && session.status !== "active" ? <RatingForm id={session.id} me={me} /> : null;
}

function Given({ rating, comment }: { rating: number; comment: string | undefined }) {
  return (
    <section className="rating" aria-labelledby="rated">
      <h2 id="rated">Rating</h2>
      <p className="stars" role="img" aria-label={`${rating} of 5`}>
        {WORDS.map((word, index) => (
          <span key={word} className={index < rating ? "star full" : "star"}>
            ★
          </span>
        ))}
      </p>
      {comment && <blockquote>{comment}</blockquote>}
    </section>
  );
}

function RatingForm({ id, me }: { id: string; me: Me }) {
  const queries = useQueryClient();
  const [rating, setRating] = useState(0);
  const [comment, setComment] = useState("");
  const giving = useMutation({
    mutationFn: () => rate(id, { rating, ...(comment.trim() && { comment: comment.trim() }) }, me),
    onSuccess: () => queries.invalidateQueries({ queryKey: transcriptKey(id) }),
  });
  const submit = (event: SyntheticEvent) => {
    event.preventDefault();
    giving.mutate();
  };
  return (
    <form className="rating" onSubmit={submit}>
      <fieldset>
        <legend>How was it?</legend>
        <div className="star-choice">
          {WORDS.map((word, index) => (
            <label key={word} title={word}>
              <input
                type="radio"
                name="rating"
                required
                value={index + 1}
                checked={rating === index + 1}
                onChange={() => setRating(index + 1)}
              />
              <span className={index < rating ? "star full" : "star"} aria-hidden="true">
                ★
              </span>
              <span className="sr-only">
                {index + 1}, {word}
              </span>
            </label>
          ))}
          <span className="rating-word" aria-hidden="true">
            {WORDS[rating - 1]}
          </span>
        </div>
      </fieldset>
      {rating > 0 && (
        <>
          <label className="field">
            <span>A word about it (optional)</span>
            <textarea
              rows={3}
              maxLength={COMMENT_LENGTH}
              value={comment}
              onChange={(event) => setComment(event.target.value)}
            />
          </label>
          {giving.error && <Problem>{messageOf(giving.error)}</Problem>}
          <button type="submit" className="primary" disabled={giving.isPending}>
            {giving.isPending ? "Sending…" : "Send rating"}
          </button>
        </>
      )}
    </form>
  );
}
