export function messagesSource(schema: unknown): Promise<string>;
