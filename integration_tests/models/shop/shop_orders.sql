-- The shop's receipts, in its own words; the last select puts them into the raw contract's.
with receipts (receipt, client, placed, state) as (
    values
    ('r1', 'ann', '2024-01-05 11:00:00', 'sent'),
    ('r2', 'ann', '2024-02-10 11:00:00', 'sent'),
    -- February in Berlin, still January in UTC.
    ('r3', 'bob', '2024-02-01 00:30:00', 'sent'),
    ('r4', 'bob', '2024-03-05 11:00:00', 'sent'),
    ('r5', 'cem', '2024-02-20 11:00:00', 'sent'),
    ('r6', 'cem', '2024-03-01 11:00:00', 'void'),
    -- Someone without an account.
    ('r7', null, '2024-03-10 11:00:00', 'sent'),
    ('r8', 'ann', '2024-04-02 11:00:00', 'packed')
)

select
    receipt as order_id,
    client as customer_id,
    cast(placed as timestamp) at time zone 'Europe/Berlin' at time zone 'UTC' as ordered_at,
    case state when 'sent' then 'completed' when 'void' then 'cancelled' else 'paid' end as status
from receipts
