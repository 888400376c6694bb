/** The sign of this project: a voice. */
export function Mark() {
  return (
    <svg className="mark" viewBox="0 0 32 32" aria-hidden="true">
      <circle cx="16" cy="16" r="15" />
      <path d="M9 14v4M13.7 10.500v11M18.300 8v16M23 13v6" />
    </svg>
  );
}
