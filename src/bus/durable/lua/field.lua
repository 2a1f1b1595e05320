-- The first field of that name among names and values in turn, wherever it stands; `message` in turn.rs takes the same.
local function field(pairs_of, name)
  for i = 1, #pairs_of, 2 do
    if pairs_of[i] == name then
      return pairs_of[i + 1]
    end
  end
  return nil
end
