import type { Message } from "../api/shapes";
import { median } from "./median";

const WIDTH = 300;
const HEIGHT = 96;
const BASE = HEIGHT - 4;
const LEFT = 26;
const MOST_BARS = 60;

interface Answer {
  seconds: number;
  thinking: number;
  voicing: number;
}

/** How long each answer took, from the end of what was said to its first sound. */
export function LatencyPlot({ messages }: { messages: Message[] }) {
  const answers = messages.map(answerOf).filter((answer) => answer !== null);
  if (answers.length === 0) return null;
  const shown = answers.slice(-MOST_BARS);
  const top = Math.max(1, ...shown.map((answer) => answer.seconds));
  const middle = median(answers.map((answer) => answer.seconds));
  const step = (WIDTH - LEFT) / Math.max(8, shown.length);
  const y = (seconds: number) => BASE - (seconds / top) * (BASE - 8);
  return (
    <figure className="latency">
      <figcaption>
        <h2>Time to answer</h2>
        <p>
          {seconds(middle)}
          {answers.length > 1 &&
            ` in the middle, ${seconds(Math.max(...answers.map((a) => a.seconds)))} at most`}
        </p>
      </figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} aria-hidden="true">
        <line className="grid" x1={LEFT} x2={WIDTH} y1={y(top)} y2={y(top)} />
        <line className="grid" x1={LEFT} x2={WIDTH} y1={BASE} y2={BASE} />
        <text x={LEFT - 5} y={y(top) + 4}>
          {top < 10 ? top.toFixed(1) : Math.round(top)}
        </text>
        <text x={LEFT - 5} y={BASE}>
          0 s
        </text>
        {shown.map((answer, index) => (
          <Bar key={index} answer={answer} x={LEFT + index * step} width={step * 0.7} y={y} />
        ))}
        <line className="middle" x1={LEFT} x2={WIDTH} y1={y(middle)} y2={y(middle)} />
      </svg>
      <ul className="legend" aria-hidden="true">
        <li className="waiting-part">waiting for the end</li>
        <li className="thinking-part">thinking</li>
        <li className="voicing-part">finding its voice</li>
      </ul>
      <table className="sr-only">
        <caption>Time to answer, in seconds</caption>
        <thead>
          <tr>
            <th scope="col">Answer</th>
            <th scope="col">Seconds</th>
          </tr>
        </thead>
        <tbody>
          {answers.map((answer, index) => (
            <tr key={index}>
              <th scope="row">{index + 1}</th>
              <td>{answer.seconds.toFixed(2)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </figure>
  );
}

interface BarProps {
  answer: Answer;
  x: number;
  width: number;
  y: (seconds: number) => number;
}

/** One answer, from the ground up: waiting, thinking, finding its voice. */
function Bar({ answer, x, width, y }: BarProps) {
  const waiting = Math.max(0, answer.seconds - answer.thinking - answer.voicing);
  const parts: [string, number, number][] = [
    ["waiting-part", 0, waiting],
    ["thinking-part", waiting, waiting + answer.thinking],
    ["voicing-part", waiting + answer.thinking, answer.seconds],
  ];
  return (
    <g>
      {parts
        .filter(([, from, to]) => to > from)
        .map(([name, from, to]) => (
          <rect
            key={name}
            className={name}
            x={x}
            width={width}
            y={y(to)}
            height={y(from) - y(to)}
          />
        ))}
    </g>
  );
}

function answerOf({ metrics, speakerRole }: Message): Answer | null {
  const whole = metrics?.e2e_latency;
  if (speakerRole !== "ai" || whole === undefined || whole <= 0) return null;
  const thinking = Math.min(whole, metrics?.llm_node_ttft ?? 0);
  const voicing = Math.min(whole - thinking, metrics?.tts_node_ttfb ?? 0);
  return { seconds: whole, thinking, voicing };
}

function seconds(value: number): string {
  return `${value.toFixed(value < 10 ? 2 : 1)} s`;
}
