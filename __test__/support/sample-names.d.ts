/**
 * Types of the packages that the documentation's fragments import and this repository does not install. Of each package only the parts that the
 * fragments use are declared, as in the package's own types.
 */

declare module 'express' {
  import type { IncomingMessage, Server, ServerResponse } from 'node:http';
  export interface Request extends IncomingMessage {
    params: Record<string, string>;
    body: Record<string, unknown>;
  }
  export interface Response extends ServerResponse {
    json(body: unknown): this;
    status(code: number): this;
  }
  export type Handler = (request: Request, response: Response, next: () => void) => unknown;
  export interface Express {
    use(handler: Handler): this;
    get(path: string, handler: Handler): this;
    post(path: string, handler: Handler): this;
    listen(port: number, listening?: () => void): Server;
  }
  export default function express(): Express;
}

declare module 'express-rate-limit' {
  import type { Handler } from 'express';
  export function rateLimit(options: {
    windowMs: number;
    limit: number;
    standardHeaders?: 'draft-8';
    legacyHeaders?: boolean;
    store: object;
  }): Handler;
}

declare module 'rate-limit-redis' {
  export type RedisReply = boolean | number | string | (boolean | number | string)[];
  export class RedisStore {
    constructor(options: { prefix?: string; sendCommand: (...args: string[]) => Promise<RedisReply> });
  }
}

declare module 'fastify' {
  export interface Reply {
    code(code: number): this;
    send(body: unknown): this;
  }
  export interface Fastify {
    decorate(name: string, value: unknown): this;
    addHook(name: 'onClose', hook: () => Promise<void>): this;
    get(path: string, handler: (request: { params: unknown }, reply: Reply) => Promise<unknown>): this;
    listen(options: { port: number; host?: string }): Promise<string>;
    close(): Promise<void>;
  }
  export default function fastify(): Fastify;
}

declare module 'hono' {
  export interface Context {
    req: { param(name: string): string };
    json(body: unknown, status?: 200 | 503): Response;
  }
  export class Hono {
    get(path: string, handler: (context: Context) => Promise<Response>): this;
    fetch: (request: Request) => Response | Promise<Response>;
  }
}

declare module '@hono/node-server' {
  import type { Server } from 'node:http';
  export function serve(options: { fetch: (request: Request) => Response | Promise<Response>; port: number }): Server;
}

declare module '@nestjs/common' {
  export interface OnApplicationShutdown {
    onApplicationShutdown(signal?: string): unknown;
  }
  export function Module(metadata: {
    imports?: unknown[];
    providers?: unknown[];
    controllers?: unknown[];
    exports?: unknown[];
  }): ClassDecorator;
  export function Global(): ClassDecorator;
  export function Injectable(): ClassDecorator;
  export function Controller(path?: string): ClassDecorator;
  export function Get(path?: string): MethodDecorator;
  export function Param(name: string): ParameterDecorator;
  export function Inject(token: unknown): ParameterDecorator;
}

declare module '@nestjs/core' {
  interface Application {
    enableShutdownHooks(): unknown;
    listen(port: number): Promise<unknown>;
    close(): Promise<void>;
  }
  export const NestFactory: { create(module: unknown): Promise<Application> };
}
