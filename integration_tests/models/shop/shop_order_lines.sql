-- What was on the receipts; prices are kept in cents.
with lines (receipt, place, article, pieces, cents) as (
    values
    ('r1', 1, 'tea', 2, 450),
    ('r1', 2, 'cup', 1, 1200),
    ('r2', 1, 'tea', 1, 450),
    ('r3', 1, 'cup', 1, 1200),
    ('r4', 1, 'tea', 3, 450),
    ('r5', 1, 'pot', 1, 3900),
    ('r6', 1, 'tea', 1, 450),
    ('r7', 1, 'cup', 2, 1200),
    ('r8', 1, 'tea', 1, 450),
    ('r8', 2, 'cup', 1, 1200),
    -- A line of no receipt: quarantined, and in no figure.
    ('r9', 1, 'tea', 1, 450)
)

select
    receipt as order_id,
    place as line_number,
    article as product_id,
    pieces as quantity,
    cents / 100.0 as unit_price
from lines
