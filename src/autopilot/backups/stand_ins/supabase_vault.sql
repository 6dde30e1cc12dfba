-- supabase_vault, upon platform/vault.sql: a secret must be given, and whoever may use the schema may look.
alter table secrets alter column secret drop default;
grant select on secrets, decrypted_secrets to public;
