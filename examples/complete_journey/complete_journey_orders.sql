-- One basket at a till is one order. Times in the file are UTC already.
select
    cast(basket_id as varchar) as order_id,
    cast(household_id as varchar) as customer_id,
    transaction_timestamp as ordered_at,
    'completed' as status,
    'USD' as currency,
    'store' as sales_channel
from {{ perennial.example_file('transactions.parquet') }}
group by all
