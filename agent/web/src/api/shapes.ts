/** What the API answers: the part of its OpenAPI description that this page reads. */

export type Scope = "admin" | "coach" | "client" | "internal";
export type Role = "client" | "coach" | "ai";
export type Status = "active" | "completed" | "cancelled";
export type Completeness = "complete" | "recovered" | "partial";

export interface Me {
  /** Null for a key of no user. */
  userId: string | null;
  identity: string | null;
  name: string | null;
  scopes: Scope[];
  /** The rooms of this key, null for any. */
  rooms: string[] | null;
  csrfToken: string;
}

/** Start and end of words, in UTF-16 code units, as JavaScript counts. */
export type Places = [number, number][];

export interface Hit {
  messageId: string;
  speakerRole: Role;
  places: Places;
  /** What was said around the first place; of a session's first hits alone. */
  excerpt?: { text: string; places: Places };
}

export interface Session {
  id: string;
  clientId: string;
  clientName: string;
  coachName?: string;
  startTime: string;
  endTime?: string;
  durationMinutes: number;
  messageCount: number;
  status: Status;
  completeness?: Completeness;
  roomName?: string;
  /** LiveKit's id of the very room: a name may be used again. */
  roomSid?: string;
  hits?: Hit[];
}

export interface Metrics {
  /** From the end of what was said to the first sound of the answer, in seconds. */
  e2e_latency?: number;
  llm_node_ttft?: number;
  tts_node_ttfb?: number;
}

export interface Message {
  id: string;
  speakerName: string;
  speakerRole: Role;
  content: string;
  timestamp: string;
  endTime?: string;
  seq?: number;
  confidence?: number;
  interrupted?: boolean;
  /** What the AI meant to say, where it was heard otherwise. */
  generatedContent?: string;
  source?: "voice" | "text" | "tool";
  metrics?: Metrics;
}

export interface Receipt {
  turnCount?: number;
  transcriptSha256: string;
  reason?: string;
  kept: boolean;
}

export interface Rating {
  rating: number;
  comment?: string;
}

export interface Transcript extends Session {
  messages: Message[];
  endReason?: string;
  summary?: string;
  pipeline?: string;
  language?: string;
  receipt?: Receipt;
  rating?: Rating & { createdAt: string };
}

export interface Ticket {
  server_url: string;
  participant_token: string;
}
