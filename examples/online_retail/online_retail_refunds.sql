-- Invoices that start with C are returns. The file does not say of which order, so they
-- belong to the customer; those without a customer are refused for want of a key.
-- Postage given back was never revenue, and the contract has no place for it.
select
    invoice || '-' || line_number as refund_id,
    customer_id,
    invoiced_at as refunded_at,
    product_id,
    -quantity as quantity,
    round(-quantity * unit_price, 2) as amount
from {{ ref('online_retail_lines') }}
where kind = 'return'
