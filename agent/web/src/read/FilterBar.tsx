import { type SyntheticEvent, useEffect, useRef, useState } from "react";
import type { Me } from "../api/shapes";
import type { Filter, Filters } from "./filters";
import { COMPLETENESS, seesOthers, STATUS } from "./words";

interface FilterBarProps {
  filters: Filters;
  /** Who looks; for whom all sessions are their own, there is nobody to choose. */
  me: Me;
  onChange: (filters: Filters) => void;
}

const TYPING_MS = 300;
const WHOSE = "Id or identity";

export function FilterBar({ filters, me, onChange }: FilterBarProps) {
  const set = (name: Filter, value: string) => {
    const next = { ...filters, [name]: value.trim() };
    onChange(Object.fromEntries(Object.entries(next).filter(([, given]) => given)));
  };
  const narrowed = Object.keys(filters).some((name) => name !== "text");
  return (
    <search>
      <form className="filters" onSubmit={(event: SyntheticEvent) => event.preventDefault()}>
        <TypedField
          label="Search what was said"
          type="search"
          value={filters.text ?? ""}
          onTyped={(value) => set("text", value)}
        />
        <details open={narrowed || undefined}>
          <summary>Filters{narrowed && <span className="badge">on</span>}</summary>
          <div className="filter-fields">
            {seesOthers(me) && (
              <TypedField
                label="Client"
                placeholder={WHOSE}
                value={filters.client ?? ""}
                onTyped={(value) => set("client", value)}
              />
            )}
            {me.scopes.includes("admin") && (
              <TypedField
                label="Coach"
                placeholder={WHOSE}
                value={filters.coach ?? ""}
                onTyped={(value) => set("coach", value)}
              />
            )}
            <Choice
              label="Status"
              value={filters.status ?? ""}
              options={STATUS}
              onChosen={(value) => set("status", value)}
            />
            <Choice
              label="Transcript"
              value={filters.completeness ?? ""}
              options={COMPLETENESS}
              onChosen={(value) => set("completeness", value)}
            />
            <Day label="From" value={filters.from} onChosen={(value) => set("from", value)} />
            <Day label="To" value={filters.to} onChosen={(value) => set("to", value)} />
            {narrowed && (
              <button
                type="button"
                className="quiet"
                onClick={() => onChange(filters.text ? { text: filters.text } : {})}
              >
                Clear filters
              </button>
            )}
          </div>
        </details>
      </form>
    </search>
  );
}

interface TypedFieldProps {
  label: string;
  value: string;
  type?: string;
  placeholder?: string;
  onTyped: (value: string) => void;
}

/** A text field that waits for a pause in the typing. */
function TypedField({ label, value, type = "text", placeholder, onTyped }: TypedFieldProps) {
  const [text, setText] = useState(value);
  const told = useRef(value);
  const tell = useRef(onTyped);
  useEffect(() => {
    tell.current = onTyped;
  });
  useEffect(() => {
    if (value === told.current) return;
    told.current = value; // the address was changed otherwise: by going back, or "Clear"
    setText(value);
  }, [value]);
  useEffect(() => {
    if (text.trim() === told.current) return;
    const timer = setTimeout(() => {
      told.current = text.trim();
      tell.current(text);
    }, TYPING_MS);
    return () => clearTimeout(timer);
  }, [text]);
  return (
    <label className="field">
      <span>{label}</span>
      <input
        type={type}
        placeholder={placeholder}
        value={text}
        maxLength={200}
        onChange={(event) => setText(event.target.value)}
      />
    </label>
  );
}

interface ChoiceProps {
  label: string;
  value: string;
  options: Record<string, string>;
  onChosen: (value: string) => void;
}

function Choice({ label, value, options, onChosen }: ChoiceProps) {
  return (
    <label className="field">
      <span>{label}</span>
      <select value={value} onChange={(event) => onChosen(event.target.value)}>
        <option value="">Any</option>
        {Object.entries(options).map(([name, shown]) => (
          <option key={name} value={name}>
            {shown}
          </option>
        ))}
      </select>
    </label>
  );
}

interface DayProps {
  label: string;
  value: string | undefined;
  onChosen: (value: string) => void;
}

function Day({ label, value = "", onChosen }: DayProps) {
  return (
    <label className="field">
      <span>{label}</span>
      <input type="date" value={value} onChange={(event) => onChosen(event.target.value)} />
    </label>
  );
}
