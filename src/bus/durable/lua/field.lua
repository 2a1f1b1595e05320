-- The value of the first field `name` in a list of names and values; `message` in protocol.rs reads the same field.
local function field(pairs_of, name)
  for i = 1, #pairs_of, 2 do
    if pairs_of[i] == name then
      return pairs_of[i + 1]
    end
  end
  return nil
end
