/** Why a microphone cannot be used, in words for whom it belongs to. */
export function explained(error: unknown): string {
  switch (error instanceof Error ? error.name : "") {
    case "NotAllowedError":
      return "The browser does not let this page hear you. Allow the microphone in its settings.";
    case "NotFoundError":
    case "OverconstrainedError":
      return "No microphone was found. Plug one in, or choose it in the browser's settings.";
    case "NotReadableError":
      return "The microphone is in use by another program. Close that, and try again.";
    default:
      if (!isSecureContext) return "A browser lets a page hear you over HTTPS alone.";
      return "The microphone cannot be used here.";
  }
}
